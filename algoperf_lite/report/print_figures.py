"""Figures for papers, PDF and SVG by matplotlib (extra `[report]`): profile, times to target, curves and tuning."""

import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import scoring
from algoperf_lite.report import figure_data, figures, svg, text
from algoperf_lite.results import Results

NAME = 24  # characters
DASHES = ("-", "--", ":")
RASTER = 20_000  # points of thin lines, from which they are drawn as pixels: a quick file, and one that opens


def write(results: Results, summary: dict[str, Any], folder: pathlib.Path) -> None:
    """Write profile, times, curves_WORKLOAD and tuning_WORKLOAD, each .pdf and .svg, of a complete board.

    profile_bands: where the bands of many would hide one another, a panel for each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    workloads = [workload for workload in results.board.workloads if workload.name in summary["workloads"]]
    unit = text.UNITS[summary["ranked_by"]]
    if summary["scores"]:
        profile = figure_data.profile(results)
        _save(_profile(profile), folder / "profile")
        if profile.band is not None and len(profile.names) > figure_data.BANDS_TOGETHER:
            _save(_profiles(profile, profile.band), folder / "profile_bands")
    _save(_times(summary, [workload.name for workload in workloads]), folder / "times")
    for workload in workloads:
        _save(_curves(results, workload), folder / f"curves_{workload.name}")
        if results.board.points > 1:
            points, _ = figure_data.points(results, workload.name)
            _save(_tuning(workload.name, results.board.entrants, points, unit), folder / f"tuning_{workload.name}")


def _profile(found: figure_data.Profile):
    figure, axes = _new()
    for i, (name, rho) in enumerate(zip(_labels(found.names), found.rho, strict=True)):
        axes.step(found.taus, rho, where="post", label=name, **_style(i))
        if found.band is not None and len(found.names) <= figure_data.BANDS_TOGETHER:
            axes.fill_between(found.taus, *found.band[i].T, step="post", color=_colour(i), alpha=0.15, lw=0)
    ends = (found.taus[0], found.taus[-1])
    axes.set(xlabel="within this factor of the fastest", ylabel="share of workloads", xlim=ends, ylim=(0, 1.02))
    _legend(figure, axes)
    return figure


def _profiles(found: figure_data.Profile, band: np.ndarray):
    """A panel per submission with its band, the others in grey."""
    across = min(4, len(found.names))
    down = math.ceil(len(found.names) / across)
    figure, grid = _new(down, across, (1.7 * across, 1.4 * down), sharex=True, sharey=True)
    for i, name in enumerate(_labels(found.names)):
        axes = grid.flat[i]
        axes.set_title(name, fontsize=7)
        for rho in np.delete(found.rho, i, axis=0):
            axes.step(found.taus, rho, where="post", color="0.8", lw=0.8)
        axes.fill_between(found.taus, *band[i].T, step="post", color=_colour(i), alpha=0.2, lw=0)
        axes.step(found.taus, found.rho[i], where="post", **_style(i))
    for axes in grid.flat[len(found.names) :]:
        axes.set_visible(False)
    grid.flat[0].set(xlim=(found.taus[0], found.taus[-1]), ylim=(0, 1.02))
    figure.supxlabel("within this factor of the fastest", fontsize=8)
    figure.supylabel("share of workloads", fontsize=8)
    return figure


def _times(summary: dict[str, Any], workloads: list[str]):
    """Medians with intervals and studies over the fastest median: a panel per workload, on one axis, misses at its end."""
    names = summary["entrants"]
    across = min(3, len(workloads))
    down = math.ceil(len(workloads) / across)
    figure, grid = _new(down, across, (1.2 + 1.9 * across, down * (0.75 + 0.16 * len(names))), sharex=True, sharey=True)
    low, high = figures.span(*(figure_data.dots(summary, workload).relative for workload in workloads))
    end = high * (high / low) ** 0.16
    for axes, workload in zip(grid.flat, workloads, strict=False):
        found = figure_data.dots(summary, workload)
        axes.set_title(_labels([workload], 30)[0], fontsize=8)
        for i in range(len(names)):
            _row(axes, i, found, lambda share: high * (end / high) ** share)
        axes.axvline(high, color="0.5", lw=0.5, ls=":")
        axes.set(xscale="log", yticks=range(len(names)), yticklabels=_labels(names))
        axes.grid(axis="both", color="0.9", lw=0.5)
        axes.set_axisbelow(True)
        _log_ticks(axes, (low, high))
        axes.set_xlim(low, end)
    for axes in grid.flat[len(workloads) :]:
        axes.set_visible(False)
    grid.flat[0].set_ylim(len(names) - 0.4, -0.6)
    figure.supxlabel("time / fastest median (rings at the right: misses)", fontsize=8)
    return figure


def _row(axes, i: int, found: figure_data.Dots, missed: Callable[[np.ndarray | float], Any]) -> None:
    """One submission's marks as on the page; `missed` maps a share of the column of misses to a place on the axis."""
    best, median, times = found.medians.min(), found.medians[i], found.times[i]
    if math.isfinite(best):
        hits = times[np.isfinite(times)] / best
        axes.plot(hits, [i] * len(hits), ".", color=_colour(i), ms=3, alpha=0.5)
        axes.plot(found.intervals[i] / best, [i, i], "-", color=_colour(i), lw=1.2)
    if math.isfinite(median):
        axes.plot(median / best, i, "o", color=_colour(i), ms=5)
        rings = missed((np.arange(np.isinf(times).sum()) + 0.5) / len(times))
        axes.plot(rings, [i] * len(rings), "o", mfc="none", color=_colour(i), ms=2, mew=0.6)
    elif np.isnan(times).all():
        axes.text(missed(0.5), i, "no trial", ha="center", va="center", fontsize=4)
    else:
        axes.plot(missed(0.5), i, "o", mfc="none", color=_colour(i), ms=4, mew=0.8)


def _curves(results: Results, workload: scoring.Workload):
    from matplotlib.collections import LineCollection

    faint, bold = figure_data.lines(results, workload)
    figure, axes = _new()
    lines = [np.array(line, float).T for _, line, _ in faint]
    colours = [_colour(i) for i, _, _ in faint]
    raster = sum(len(line) for line in lines) > RASTER
    axes.add_collection(LineCollection(lines, colors=colours, alpha=0.25, linewidths=0.8, rasterized=raster))
    names = _labels(results.board.entrants)
    for i, (xs, ys), _ in bold:
        axes.plot(xs, ys, label=names[i], **_style(i))
    axes.axhline(workload.target, color="black", ls=":", lw=1)
    low, high = figures.limits([line for _, line, _ in faint], workload.target, workload.direction == "max")
    end = max((line[-1, 0] for line in lines), default=1)
    label = f"charged {text.UNITS[results.board.rules.unit]}"
    axes.set(xlabel=label, ylabel=workload.metric, xlim=(0, end * 1.02), ylim=(low, high))
    axes.set_title(_labels([workload.name], 40)[0], fontsize=9)
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
        yticklabels=_labels(names),
        xlabel=f"{unit} to target",
    )
    axes.set_title(_labels([workload], 40)[0], fontsize=9)
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
    if not handles:  # every trial failed before its first evaluation
        return
    if len(handles) <= 4:
        axes.legend(frameon=False, fontsize=7)
    else:
        figure.set_figwidth(6)
        figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=6)


def _save(figure, path: pathlib.Path) -> None:
    import matplotlib

    with matplotlib.rc_context({"pdf.fonttype": 42}):  # TrueType: publishers refuse Type 3
        for suffix in ("pdf", "svg"):
            figure.savefig(path.with_name(f"{path.name}.{suffix}"), dpi=200)
            figure.set_layout_engine("none")  # the first file has found the layout


def _colour(i: int) -> str:
    return svg.LIGHT[i % svg.COLOURS]


def _style(i: int) -> dict[str, Any]:
    return {"color": _colour(i), "ls": DASHES[i // svg.COLOURS % len(DASHES)], "lw": 1.8}


def _labels(names: Sequence[str], width: int = NAME) -> list[str]:
    """Names as matplotlib takes them: no formulas, and short enough to leave room for the plot."""
    short = text.elided(names, width)
    return [short[name].replace("$", r"\$") for name in names]
