"""One self-contained HTML page of a board, with its tables and figures as files beside it.

The page makes no network request, needs no JavaScript, and follows the reader's light or dark preference. Where plotly
is installed its curves and profile are also interactive, for 5 MB more (`light` leaves that out).
"""

import importlib.util
import pathlib
from typing import Any

import jinja2
from markupsafe import Markup, escape

import scoring
from algoperf_lite import results as results_module
from algoperf_lite.report import figure_data, figures, interactive, provenance, standing, svg, tables, text
from algoperf_lite.results import Results

PAIRS_SHOWN = 15  # more are folded away: 6 entrants have 15
ABLATIONS_SHOWN = 12
TUNING_ROWS_SHOWN = 24
TUNING_PARTS = ("p_hit", "best_given_hit", "cost")


def write(
    path: pathlib.Path | str, out: pathlib.Path | None = None, light: bool = False, benchmark: str | None = None
) -> pathlib.Path:
    """Write the page with `tables/` and `figures/` beside it; return its path.

    `path` and `benchmark` as `results.read` takes them. The default place is report.html in a run directory; for logs,
    which are not ours to write into, in a folder here by the benchmark's name. `light`: plain SVG even where plotly is
    installed.
    """
    results = results_module.read(path) if benchmark is None else results_module.read(path, benchmark)
    summary = standing.by_rank(results_module.summarise(results))
    results = standing.ordered(results, summary)
    home = results.path if results.about.kind == "run" else pathlib.Path(results.about.name)
    out = pathlib.Path(out) if out else home / "report.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render(results, summary, light), encoding="utf-8")
    tables.write(results, summary, out.parent / "tables")
    if summary["cells"] and importlib.util.find_spec("matplotlib"):
        from algoperf_lite.report import print_figures

        print_figures.write(results, summary, out.parent / "figures")
    return out


def render(results: Results, summary: dict[str, Any], light: bool = False) -> str:
    """The page as a string."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("algoperf_lite.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "number": text.number,
        "score": text.score,
        "ratio": text.ratio,
        "percent": text.percent,
        "further": text.further,
        "breakable": _breakable,
    }
    board = results.board
    workloads = [workload for workload in board.workloads if workload.name in summary["workloads"]]
    live = not light and interactive.available()
    curves = [(workload, _curves(results, workload, live)) for workload in workloads]
    unit = text.UNITS[summary["ranked_by"]]
    tuning, explorer = _tuning(results, workloads, unit, live) if board.points > 1 else ([], None)
    ends = [end for p in summary["pairs"] for end in [p["ratio"], *(p["interval"] or [])] if end]
    reach = min(8.0, max([1.12, *(max(end, 1 / end) ** 1.1 for end in ends)]))
    return environment.get_template("report.html.j2").render(
        s=summary,
        about=results.about,
        workloads=workloads,
        order=[row["submission"] for row in summary["scores"]],
        key={name: svg.key(i) for i, name in enumerate(summary["entrants"])},
        headline=text.headline(summary),
        rule_changes=text.rule_changes(standing.changes(summary)),
        power=text.resolving_power(summary),
        unit=unit,
        light=svg.LIGHT,
        dark=svg.DARK,
        alerts=[flag for flag in summary["flags"] if flag["kind"] in text.ALERTS],
        pair_strips=[figures.pair_strip(p["ratio"], p["interval"], reach) for p in summary["pairs"]],
        score_strips=[figures.score_strip(r["score"], r["ci95"]) for r in summary["scores"]],
        reach=reach,
        pairs_shown=PAIRS_SHOWN,
        best=_best(summary),
        dots=_dots(workloads, summary),
        profile=_profile(results, live) if summary["scores"] else None,
        ablations=_ablations(summary),
        curves=curves,
        tuning=tuning,
        explorer=explorer,
        tuning_table=_tuning_rows(summary),
        tuning_rows_shown=TUNING_ROWS_SHOWN,
        errors=provenance.standard_errors(results),
        script=interactive.script() if live and any(figure for _, figure in curves) else None,
        command=provenance.rerun_command(results),
        facts=provenance.facts(results),
        costs=provenance.costs(results.benchmark),
        parquet=tables.parquet_available(),
    )


def _breakable(name: str) -> Markup:
    """A long name may break after an underscore."""
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _best(summary: dict[str, Any]) -> dict[str, float | None]:
    """Smallest median by workload."""
    times = summary["time_to_target"].values()
    known = {w: [row[w] for row in times if row[w] is not None] for w in summary["workloads"]}
    return {workload: min(values, default=None) for workload, values in known.items()}


def _dots(workloads: list[scoring.Workload], summary: dict[str, Any]) -> list[tuple[str, Markup]]:
    """A panel per workload, on one axis; empty before the board is complete."""
    if not summary["cells"]:
        return []
    found = {workload.name: figure_data.dots(summary, workload.name) for workload in workloads}
    ends = figures.span(*(one.relative for one in found.values()))
    names = summary["entrants"]
    return [(name, figures.dots(name, names, one.medians, one.intervals, one.times, ends)) for name, one in found.items()]


def _profile(results: Results, live: bool) -> dict[str, Any]:
    """The profile of all entrants, and where their bands would hide one another a small one of each."""
    found = figure_data.profile(results)
    numbers = found.names, found.taus, found.rho
    together = len(found.names) <= figure_data.BANDS_TOGETHER
    band = found.band if together else None
    panels = [] if together or found.band is None else range(len(found.names))
    return {
        "figure": figures.profile(*numbers, band) + (interactive.profile(*numbers, band) if live else ""),
        "band": found.band is not None,
        "panels": [(found.names[i], figures.profile_of(i, *numbers, found.band)) for i in panels],
    }


def _curves(results: Results, workload: scoring.Workload, live: bool) -> Markup | None:
    """Every trial faint; bold, per entrant, the trial that stands for the median study."""
    faint, bold = figure_data.lines(results, workload)
    if not faint:
        return None
    title, target, maximise = f"Learning curves on {workload.name}", workload.target, workload.direction == "max"
    unit = text.UNITS[results.board.rules.unit]
    still = figures.curves(title, [row[:2] for row in faint], [row[:2] for row in bold], target, maximise, unit)
    if not live:
        return still
    limits = figures.limits([row[1] for row in faint], target, maximise)
    return still + interactive.curves(title, faint, bold, target, limits, unit)


def _ablations(summary: dict[str, Any]) -> dict[str, Any] | None:
    """The rows with the entrants whose rank moved, and a sentence on them; of many rows only those that tell are shown."""
    found = standing.changes(summary)
    if found is None:
        return None
    rows = [row | {"moved": moved} for row, moved in zip(summary["ablations"], standing.moved(summary), strict=True)]
    moving = [row for row in rows if row["moved"]]
    says = f"Of {found['known']} changes {len(moving) or 'none'} move{'s' if len(moving) == 1 else ''} a rank"
    says += f", {found['first'] or 'none'} the first place." if moving else "."
    unknown = len(rows) - 1 - found["known"]
    says += f" {unknown} more cannot be told from the records." if unknown else ""
    shown = rows if len(rows) <= ABLATIONS_SHOWN else [rows[0], *moving] if moving else []
    return {"rows": rows, "shown": shown, "says": says}


def _tuning(
    results: Results, workloads: list[scoring.Workload], unit: str, live: bool
) -> tuple[list[tuple[str, Markup]], Markup | None]:
    """A panel per workload with every trial, and the same by hyperparameter where there is a script to choose."""
    names = results.board.entrants
    found = {workload.name: figure_data.points(results, workload.name) for workload in workloads}
    points = {name: rows for name, (rows, _) in found.items() if any(rows)}
    panels = [(name, figures.tuning(name, names, rows, unit)) for name, rows in points.items()]
    if not live or not any(results.hparams.values()):
        return panels, None
    return panels, interactive.explorer(names, points, {name: found[name][1] for name in points}, unit)


def _tuning_rows(summary: dict[str, Any]) -> dict[str, Any] | None:
    """P(hit), expected best and cost within k trials, for the first, a middle and the last k (P19)."""
    tuning = summary["tuning"]
    most = max((cell["trials"] for row in tuning.values() for cell in row.values()), default=0)
    if most < 2:
        return None
    shown = sorted({1, (most + 1) // 2, most})
    rows = [
        (workload, name, [[dict(enumerate(cell[part], 1)).get(k) for k in shown] for part in TUNING_PARTS])
        for workload in summary["workloads"]
        for name in summary["entrants"]
        if (cell := tuning.get(name, {}).get(workload))
    ]
    return {"k": shown, "rows": rows}
