"""Figures for papers, PDF and SVG by matplotlib (extra `[report]`): profile, times to target, curves and tuning."""

import math
import pathlib
from typing import Any

import numpy as np

import scoring
from algoperf_lite.report import figure_data, figures, svg, text
from algoperf_lite.results import Results

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#555555")  # Okabe and Ito
DASHES = ("-", "--", ":")
RASTER = 20_000  # points of thin lines, from which they are drawn as pixels: a quick file, and one that opens


def write(results: Results, summary: dict[str, Any], folder: pathlib.Path) -> None:
    """Write profile, times, curves_WORKLOAD and tuning_WORKLOAD, each .pdf and .svg, of a complete board."""
    folder.mkdir(parents=True, exist_ok=True)
    workloads = [workload for workload in results.board.workloads if workload.name in summary["workloads"]]
    unit = text.UNITS[summary["ranked_by"]]
    if summary["scores"]:
        _save(_profile(figure_data.profile(results)), folder / "profile")
    _save(_times(summary, [workload.name for workload in workloads]), folder / "times")
    for workload in workloads:
        _save(_curves(results, workload), folder / f"curves_{workload.name}")
        if results.board.points > 1:
            points, _ = figure_data.points(results, workload.name)
            _save(_tuning(workload.name, results.board.entrants, points, unit), folder / f"tuning_{workload.name}")


def _profile(found: figure_data.Profile):
    figure, axes = _new()
    for i, (name, rho) in enumerate(zip(found.names, found.rho, strict=True)):
        axes.step(found.taus, rho, where="post", label=_label(name), **_style(i))
        if found.band is not None and len(found.names) <= figure_data.BANDS_TOGETHER:
            axes.fill_between(found.taus, *found.band[i].T, step="post", color=_colour(i), alpha=0.15, lw=0)
    ends = (found.taus[0], found.taus[-1])
    axes.set(xlabel="within this factor of the fastest", ylabel="share of workloads", xlim=ends, ylim=(0, 1.02))
    _legend(figure, axes)
    return figure


def _times(summary: dict[str, Any], workloads: list[str]):
    """Medians with intervals and studies over the fastest median: a panel per workload, on one axis."""
    names = summary["entrants"]
    across = min(3, len(workloads))
    down = math.ceil(len(workloads) / across)
    figure, grid = _new(down, across, (1.2 + 1.9 * across, down * (0.75 + 0.16 * len(names))), sharex=True, sharey=True)
    for axes, workload in zip(grid.flat, workloads, strict=False):
        found = figure_data.dots(summary, workload)
        best = found.medians.min()
        axes.set_title(_label(workload), fontsize=8)
        for i in range(len(names)):
            if math.isfinite(best):
                times = found.times[i][np.isfinite(found.times[i])] / best
                axes.plot(times, [i] * len(times), ".", color=_colour(i), ms=3, alpha=0.5)
                axes.plot(found.intervals[i] / best, [i, i], "-", color=_colour(i), lw=1.2)
            if math.isfinite(found.medians[i]):
                axes.plot(found.medians[i] / best, i, "o", color=_colour(i), ms=5)
            else:
                axes.plot(0.98, i, "x", color=_colour(i), ms=4, transform=axes.get_yaxis_transform())
        axes.set(xscale="log", yticks=range(len(names)), yticklabels=map(_label, names))
        axes.grid(axis="both", color="0.9", lw=0.5)
        axes.set_axisbelow(True)
    ends = figures.span(*(figure_data.dots(summary, workload).relative for workload in workloads))
    for axes in list(grid.flat)[len(workloads) :]:
        axes.set_visible(False)
    for axes in list(grid.flat)[: len(workloads)]:
        _log_ticks(axes, ends)
    grid.flat[0].set_ylim(len(names) - 0.4, -0.6)
    figure.supxlabel("time / fastest median (x: a miss)", fontsize=8)
    return figure


def _curves(results: Results, workload: scoring.Workload):
    from matplotlib.collections import LineCollection

    faint, bold = figure_data.lines(results, workload)
    figure, axes = _new()
    lines = [np.array(line, float).T for _, line, _ in faint]
    colours = [_colour(i) for i, _, _ in faint]
    raster = sum(len(line) for line in lines) > RASTER
    axes.add_collection(LineCollection(lines, colors=colours, alpha=0.25, linewidths=0.8, rasterized=raster))
    for i, (xs, ys), _ in bold:
        axes.plot(xs, ys, label=_label(results.board.entrants[i]), **_style(i))
    axes.axhline(workload.target, color="black", ls=":", lw=1)
    low, high = figures.limits([line for _, line, _ in faint], workload.target, workload.direction == "max")
    end = max((line[-1, 0] for line in lines), default=1)
    label = f"charged {text.UNITS[results.board.rules.unit]}"
    axes.set(xlabel=label, ylabel=workload.metric, xlim=(0, end * 1.02), ylim=(low, high))
    axes.set_title(_label(workload.name), fontsize=9)
    _legend(figure, axes)
    return figure


def _tuning(workload: str, names: tuple[str, ...], points: list[list[figures.Point]], unit: str):
    """Every trial by its time to target; misses in a column at the right."""
    figure, axes = _new(size=(4.2, 0.9 + 0.22 * len(names)))
    studies = max((point.study for row in points for point in row), default=0) + 1
    ends = figures.span(np.array([point.time for row in points for point in row]))
    for i, row in enumerate(points):
        for wins in (False, True):
            mine = [p for p in row if p.wins == wins and math.isfinite(p.time)]
            at = [i + 0.6 * ((p.study + 0.5) / studies - 0.5) for p in mine]
            axes.plot(
                [p.time for p in mine], at, "o", color=_colour(i), ms=4 if wins else 2.5, alpha=1 if wins else 0.5, mew=0
            )
        missed = sum(not math.isfinite(p.time) for p in row)
        if missed:
            axes.annotate(f"{missed} missed", (1.01, i), xycoords=("axes fraction", "data"), va="center", fontsize=7)
    axes.set(
        xscale="log",
        yticks=range(len(names)),
        yticklabels=map(_label, names),
        xlabel=f"{unit} to target",
    )
    axes.set_title(_label(workload), fontsize=9)
    _log_ticks(axes, ends)
    axes.set_ylim(len(names) - 0.4, -0.6)
    return figure


def _new(down: int = 1, across: int = 1, size: tuple[float, float] = (4.2, 2.8), **shared) -> tuple[Any, Any]:
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    axes = figure.subplots(down, across, **shared)
    for one in np.ravel(axes):
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=7)
        one.xaxis.label.set_size(8)
        one.yaxis.label.set_size(8)
    return figure, axes if not shared else np.atleast_1d(axes)


def _log_ticks(axes, ends: tuple[float, float]) -> None:
    from matplotlib import ticker

    axes.set_xlim(*ends)
    axes.xaxis.set_major_locator(ticker.FixedLocator(svg.log_ticks(*ends)))
    axes.xaxis.set_major_formatter(lambda value, _: svg.tick(value))
    axes.xaxis.set_minor_locator(ticker.NullLocator())


def _legend(figure, axes) -> None:
    """Beside the lines; of many entrants outside, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) <= 4:
        axes.legend(frameon=False, fontsize=7)
    else:
        figure.set_figwidth(6)
        figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=6)


def _save(figure, path: pathlib.Path) -> None:
    for suffix in ("pdf", "svg"):
        figure.savefig(path.with_name(f"{path.name}.{suffix}"), dpi=200)
        figure.set_layout_engine("none")  # the first file has found the layout


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _style(i: int) -> dict[str, Any]:
    return {"color": _colour(i), "ls": DASHES[i // len(COLOURS) % len(DASHES)], "lw": 1.8}


def _label(name: str) -> str:
    """A name as matplotlib takes it: no formula, and short enough to leave room for the plot."""
    short = name if len(name) <= 24 else name[:23] + "\N{HORIZONTAL ELLIPSIS}"
    return short.replace("$", r"\$")
