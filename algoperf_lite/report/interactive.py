"""Interactive twins of the page's curves and profile, by plotly (extra `[report]`): values on hover, zoom by dragging.

A twin is a JSON block beside its SVG. The script at the page's end draws it and hides the SVG on the screen; without
JavaScript, and on paper, the SVG stays. Colours are the page's CSS variables, read when drawn: light and dark alike.
Only the JavaScript library comes from plotly; it is embedded once, and nothing asks the network.
"""

import html
import importlib.util
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from algoperf_lite.report.figures import COLOURS, Line

TICKS = {"ticks": "outside", "ticklen": 5, "tickcolor": "rgba(0,0,0,0)"}  # a gap between plot and numbers
DRAW = """
(() => {
  const touch = matchMedia("(pointer: coarse)").matches;  // there a finger on a figure scrolls the page
  const config = {responsive: true, displayModeBar: false, displaylogo: false, showTips: false};
  const blocks = [...document.querySelectorAll("script.twin")];
  const draw = block => {
    const style = getComputedStyle(document.documentElement);
    const figure = JSON.parse(block.textContent.replace(/var\\((--\\w+)\\)/g, (_, name) => style.getPropertyValue(name)));
    figure.layout.dragmode = touch ? false : "zoom";
    figure.layout.xaxis.fixedrange = figure.layout.yaxis.fixedrange = touch;
    let plot = block.nextElementSibling;
    if (!plot) {
      const named = {className: "live", role: "img", ariaLabel: block.dataset.title};
      block.after(plot = Object.assign(document.createElement("div"), named));
    }
    Plotly.react(plot, figure.data, figure.layout, config);
    block.parentElement.classList.add("drawn");  // last: a figure that failed keeps its SVG
  };
  blocks.forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => blocks.forEach(draw));
})();
"""


def available() -> bool:
    """Whether plotly is installed."""
    return importlib.util.find_spec("plotly") is not None


def script() -> Markup:
    """The library, and what draws the twins; for the page's end, once."""
    import plotly.offline

    return Markup(f'<script id="plotly">{plotly.offline.get_plotlyjs()}</script>\n<script>{DRAW}</script>')


def curves(
    title: str,
    faint: Sequence[tuple[int, Line, str]],
    bold: Sequence[tuple[int, Line, str]],
    target: float,
    limits: tuple[float, float],
) -> Markup:
    """As `figures.curves`, each line with what to say of it; between the same limits."""
    shown = "%{y:.4~g} at %{x:,.0f} steps<br>%{meta}<extra></extra>"
    traces = [_trace(line, i, text, shown, 1, 0.35) for i, line, text in reversed(faint)]
    traces += [_trace(line, i, text, shown, 2.2, 1) for i, line, text in reversed(bold)]
    rule = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": target, "y1": target}
    layout = _layout("charged reference steps", None, limits)
    return _block(title, traces, layout | {"shapes": [rule | {"line": {"color": "var(--ink)", "dash": "dot", "width": 1}}]})


def profile(names: Sequence[str], taus: np.ndarray, rho: np.ndarray) -> Markup:
    """As `figures.profile`."""
    shown = "%{meta}<br>%{y:.0%} of workloads within %{x:.2f}<extra></extra>"
    rows = reversed(list(enumerate(zip(names, rho, strict=True))))
    traces = [_trace((taus.tolist(), row.tolist()), i, name, shown, 2.2, 1, shape="hv") for i, (name, row) in rows]
    return _block("Performance profile", traces, _layout("within this factor of the fastest", (1, 4), (-0.01, 1.02)))


def _trace(line: Line, colour: int, text: str, shown: str, width: float, opacity: float, **kind: Any) -> dict[str, Any]:
    xs, ys = line
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [_short(x) for x in xs],
        "y": [_short(y) for y in ys],
        "line": {"color": f"var(--c{colour % COLOURS})", "width": width} | kind,
        "opacity": opacity,
        "meta": "<br>".join(html.escape(part, quote=False) for part in text.splitlines()),  # plotly reads some HTML
        "hovertemplate": shown,
    }


def _layout(x_label: str, x: tuple[float, float] | None, y: tuple[float, float]) -> dict[str, Any]:
    axis = {"gridcolor": "var(--line)", "zeroline": False, "nticks": 6, "automargin": True} | TICKS
    return {
        "xaxis": axis
        | {"title": {"text": x_label, "standoff": 6, "font": {"size": 12}}}
        | ({"range": x} if x else {"rangemode": "tozero"}),
        "yaxis": axis | {"range": y},
        "margin": {"l": 40, "r": 12, "t": 8, "b": 36},
        "font": {"color": "var(--soft)", "size": 12, "family": "system-ui, sans-serif"},
        "hoverlabel": {"bgcolor": "var(--panel)", "font": {"color": "var(--ink)"}, "align": "left"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "showlegend": False,
    }


def _block(title: str, data: list[dict[str, Any]], layout: dict[str, Any]) -> Markup:
    text = json.dumps({"data": data, "layout": layout}, separators=(",", ":"), allow_nan=False)
    text = text.replace("<", "\\u003c")  # nothing in a name may end the block
    return Markup('<script type="application/json" class="twin" data-title="{}">{}</script>').format(title, Markup(text))


def _short(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
