"""Interactive figures by plotly (extra `[report]`): values on hover, zoom by dragging, hyperparameters by a menu.

A twin is a JSON block beside its SVG. The script at the page's end draws it when it comes near the screen and hides the
SVG; without JavaScript, and on paper, the SVG stays. Colours are the page's CSS variables, read when drawn: light and
dark alike. Only the JavaScript library comes from plotly; it is embedded once, and nothing asks the network.
"""

import html
import importlib.util
import itertools
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from algoperf_lite.report import figures, svg
from algoperf_lite.report.svg import COLOURS, Line

AXIS = {
    "gridcolor": "var(--line)",
    "zeroline": False,
    "nticks": 6,
    "automargin": True,
    "ticks": "outside",  # unseen: a gap between plot and numbers
    "ticklen": 5,
    "tickcolor": "rgba(0,0,0,0)",
}
DASHES = ("solid", "dash", "dot")
MARKS = ("circle", "square", "diamond")
DRAW = pathlib.Path(__file__).parent / "templates" / "draw.js"
POINTS = 20_000  # of all thin lines of one figure


def available() -> bool:
    """Whether plotly is installed."""
    return importlib.util.find_spec("plotly") is not None


def script() -> Markup:
    """The library, and what draws the figures; for the page's end, once."""
    import plotly.offline

    draw = DRAW.read_text(encoding="utf-8")
    return Markup(f'<script id="plotly">{plotly.offline.get_plotlyjs()}</script>\n<script>{draw}</script>')


def curves(
    title: str,
    faint: Sequence[tuple[int, Line, str]],
    bold: Sequence[tuple[int, Line, str]],
    target: float,
    limits: tuple[float, float],
    unit: str = "reference steps",
) -> Markup:
    """As `figures.curves`, each line with what to say of it; between the same limits."""
    every = math.ceil(sum(len(line[0]) for _, line, _ in faint) / POINTS)
    traces = []
    for rows, width, opacity, step in ((faint, 1, 0.35, every), (bold, 2.2, 1, 1)):
        groups = [(i, list(group)) for i, group in itertools.groupby(rows, key=lambda row: row[0])]
        for i, group in reversed(groups):  # the first entrant on top
            lines = [(figures.thin(line, step), text) for _, line, text in group]
            traces.append(_lines(i, lines, width, opacity))
    layout = _layout(f"charged {unit}", None, limits)
    rule = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": target, "y1": target}
    return _block(title, traces, layout | {"shapes": [rule | {"line": {"color": "var(--ink)", "dash": "dot", "width": 1}}]})


def profile(names: Sequence[str], taus: np.ndarray, rho: np.ndarray, band: np.ndarray | None = None) -> Markup:
    """As `figures.profile`."""
    traces = []
    for i, (name, row) in reversed(list(enumerate(zip(names, rho, strict=True)))):
        line = {"color": f"var(--c{i % COLOURS})", "width": 2.2, "shape": "hv", "dash": DASHES[i // COLOURS % 3]}
        for side, fill in ((0, "none"), (1, "tonexty")) if band is not None else ():
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": _short(taus),
                    "y": _short(band[i, :, side]),  # pyright: ignore[reportOptionalSubscript]
                    "line": line | {"width": 0},
                    "fill": fill,
                    "fillcolor": f"var(--a{i % COLOURS})",
                    "hoverinfo": "skip",
                }
            )
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": _short(taus),
                "y": _short(row),
                "line": line,
                "meta": _plain(name),
                "hovertemplate": "%{meta}<br>%{y:.0%} of workloads within %{x:.2f}<extra></extra>",
            }
        )
    ends = (float(taus[0]), float(taus[-1]))
    return _block("Performance profile", traces, _layout("within this factor of the fastest", ends, (-0.01, 1.02)))


def explorer(
    names: Sequence[str],
    points: Mapping[str, Sequence[Sequence[figures.Point]]],
    hparams: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]],
    unit: str,
) -> Markup:
    """Hyperparameter against time to target, one mark a trial; menus choose what is shown.

    points and hparams: by workload, of each entrant's trials.
    """
    every = [one for rows in hparams.values() for row in rows for one in row]
    values = {name: [one[name] for one in every if name in one] for name in sorted({name for one in every for name in one})}
    axes = sorted(values, key=lambda name: (-len(values[name]), -len(set(map(repr, values[name])))))  # most telling first
    axes = [name for name in axes if len(set(map(repr, values[name]))) > 1] or axes[:1]
    workloads = {}
    for workload, rows in points.items():
        low, high = figures.span(np.array([point.time for row in rows for point in row]))
        miss = high * (high / low) ** 0.12
        at = svg.log_ticks(low, high, 5)
        workloads[workload] = {
            "range": [math.log10(low), math.log10(miss * (miss / low) ** 0.05)],
            "ticks": [*at, miss],
            "words": [*map(svg.tick, at), "miss"],
            "trials": [
                [
                    i,
                    _short([point.time])[0] or miss,
                    int(point.wins) if math.isfinite(point.time) else -1,
                    _plain(point.text),
                    [_value(chosen.get(name)) for name in axes],
                ]
                for i, row in enumerate(rows)
                for point, chosen in zip(row, hparams[workload][i], strict=True)
            ],
        }
    layout = _layout("", None, (0, 1))
    layout["xaxis"]["exponentformat"] = "power"
    layout["yaxis"] |= {"type": "log", "title": {"text": f"{unit} to target", "font": {"size": 12}, "standoff": 14}}
    block = {
        "axes": [{"title": _plain(name)} | _scale(values[name]) for name in axes],
        "workloads": workloads,
        "layout": layout,
        "marks": [MARKS[i // COLOURS % 3] for i in range(len(names))],
        "colours": [f"var(--c{i % COLOURS})" for i in range(len(names))],
    }
    menus = [_menu("Hyperparameter", [(str(k), name) for k, name in enumerate(axes)])]
    menus += [_menu("Workload", [(name, name) for name in points])]
    menus += [_menu("Submission", [("", "all"), *((str(i), name) for i, name in enumerate(names))])]
    return Markup("<p>{} {} {}</p>{}").format(*menus, _json(block, "trials", "Hyperparameters against time to target"))


def _menu(label: str, options: Sequence[tuple[str, str]]) -> Markup:
    inner = Markup("").join(Markup('<option value="{}">{}</option>').format(*option) for option in options)
    return Markup("<label>{} <select>{}</select></label>").format(label, inner)


def _scale(values: Sequence[Any]) -> dict[str, Any]:
    """The axis that suits the values of one hyperparameter."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return {"type": "category"}
    low, high = min(values), max(values)
    if low <= 0 or high / low < 8:
        return {"type": "linear"}
    return {"type": "log", "dtick": 1 if high / low >= 100 else "D2"}  # powers of ten; or also twice and five times


def _value(value: Any) -> Any:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return _short([value])[0] if isinstance(value, float) else value
    return _plain(json.dumps(value) if not isinstance(value, str) else value)


def _lines(i: int, lines: Sequence[tuple[Line, str]], width: float, opacity: float) -> dict[str, Any]:
    """One trace for all lines of an entrant, with gaps between: far quicker to draw than a trace for each.

    `labels` [(points, text)] become the text of every point when the figure is drawn.
    """
    xs, ys, labels = [], [], []
    for (x, y), text in lines:
        xs += [*_short(x), None]
        ys += [*_short(y), None]
        labels.append([len(x) + 1, _plain(text)])
    return {
        "type": "scatter",
        "mode": "lines",
        "x": xs,
        "y": ys,
        "labels": labels,
        "line": {"color": f"var(--c{i % COLOURS})", "width": width, "dash": DASHES[i // COLOURS % 3]},
        "opacity": opacity,
        "hovertemplate": "%{y:.4~g} at %{x:,.0f}<br>%{text}<extra></extra>",
    }


def _layout(x_label: str, x: tuple[float, float] | None, y: tuple[float, float]) -> dict[str, Any]:
    return {
        "xaxis": AXIS
        | {"title": {"text": x_label, "standoff": 6, "font": {"size": 12}}}
        | ({"range": x} if x else {"rangemode": "tozero"}),
        "yaxis": AXIS | {"range": y},
        "margin": {"l": 40, "r": 12, "t": 8, "b": 36},
        "font": {"color": "var(--soft)", "size": 12, "family": "system-ui, sans-serif"},
        "hoverlabel": {"bgcolor": "var(--panel)", "font": {"color": "var(--ink)"}, "align": "left"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "showlegend": False,
    }


def _block(title: str, data: list[dict[str, Any]], layout: dict[str, Any]) -> Markup:
    return _json({"data": data, "layout": layout}, "twin", title)


def _json(block: dict[str, Any], css: str, title: str) -> Markup:
    text = json.dumps(block, separators=(",", ":"), allow_nan=False)
    text = text.replace("<", "\\u003c")  # nothing in a name may end the block
    return Markup('<script type="application/json" class="{}" data-title="{}">{}</script>').format(css, title, Markup(text))


def _plain(text: str) -> str:
    """As plotly takes it: it reads some HTML."""
    return "<br>".join(html.escape(part, quote=False) for part in text.splitlines())


def _short(values: Sequence[float | None] | np.ndarray) -> list[float | None]:
    return [None if v is None or not math.isfinite(v) else float(f"{v:.6g}") for v in values]
