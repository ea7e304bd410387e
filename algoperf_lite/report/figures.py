"""The page's figures: pure functions from numbers to inline SVG.

`names` are entrants in board order; arrays are [entrants, ...], a miss is infinite.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from algoperf_lite.report import svg, text
from algoperf_lite.report.svg import Axes, Line

FAINT_POINTS = 8000  # of all thin lines of one figure; more would only make the page heavy
MISS_WIDTH = 30


@dataclasses.dataclass(frozen=True)
class Point:
    """One trial in the tuning figure; `time` is infinite for a miss, `text` says what a reader wants to know of it."""

    study: int
    trial: int
    time: float
    wins: bool  # the fastest hit of its study
    text: str


def profile(names: Sequence[str], taus: np.ndarray, rho: np.ndarray, band: np.ndarray | None = None) -> Markup:
    """Performance profile: share of workloads [names, taus] solved within tau times the best time; band [.., 2]."""
    axes = Axes((float(taus[0]), float(taus[-1])), (0, 1))
    axes.frame("within this factor of the fastest", [1, 2, 3, 4], [0, 0.25, 0.5, 0.75, 1])
    for i in reversed(range(len(rho))):  # the first entrant on top
        _draw_profile(axes, i, taus, rho, band)
    return axes.svg("Performance profile of " + ", ".join(names))


def _draw_profile(axes: Axes, i: int, taus: np.ndarray, rho: np.ndarray, band: np.ndarray | None) -> None:
    """Entrant `i`'s line over its band."""
    if band is not None:
        xs, (low, high) = _stairs(taus, band[i, :, 0], band[i, :, 1])
        axes.area(xs, low, high, f"area {svg.css(i)}")
    xs, (ys,) = _stairs(taus, rho[i])
    axes.line((xs, ys), f"bold {svg.css(i)}")


def profile_of(i: int, names: Sequence[str], taus: np.ndarray, rho: np.ndarray, band: np.ndarray | None) -> Markup:
    """Entrant `i`'s profile with its band, the others in grey: for fields where bands would hide one another."""
    axes = Axes((float(taus[0]), float(taus[-1])), (0, 1), width=200, height=130, left=34)
    axes.frame("", [1, 2, 3, 4], [0, 0.5, 1])
    for j, row in enumerate(rho):
        if j != i:
            xs, (ys,) = _stairs(taus, row)
            axes.line((xs, ys), "other")
    _draw_profile(axes, i, taus, rho, band)
    return axes.svg(f"Performance profile of {names[i]}")


def _stairs(xs: np.ndarray, *rows: np.ndarray) -> tuple[list[float], list[list[float]]]:
    """Each value of the rows holds until the next x; flat stretches keep their ends only."""
    keep = [0, *(k for k in range(1, len(xs)) if any(row[k] != row[k - 1] for row in rows)), len(xs) - 1]
    corners = [k for before, after in itertools.pairwise(keep) for k in (before, after)]
    places = [float(xs[0]), *(float(xs[k]) for k in keep[1:] for _ in (0, 1))]
    return places, [[float(row[0]), *(float(row[k]) for k in corners)] for row in rows]


def curves(
    title: str,
    faint: Sequence[tuple[int, Line]],
    bold: Sequence[tuple[int, Line]],
    target: float,
    maximise: bool,
    unit: str = "reference steps",
) -> Markup:
    """Learning curves of one workload: (entrant, line) of all trials, of the median study's trial, and the target."""
    lines = [line for _, line in [*faint, *bold]]
    low, high = limits(lines, target, maximise)
    end = max((x for line in lines for x in line[0]), default=1)
    axes = Axes((0, end), (low, high))
    axes.frame(f"charged {unit}", svg.ticks(0, end, 4), svg.ticks(low, high, 4))
    every = math.ceil(sum(len(line[0]) for _, line in faint) / FAINT_POINTS)
    for i, line in reversed(faint):  # the first entrant on top
        axes.line(thin(line, every), f"faint {svg.css(i)}")
    for i, line in reversed(bold):
        axes.line(line, f"bold {svg.css(i)}")
    axes.rule(axes.left, axes.py(target), axes.right, axes.py(target), "target")
    return axes.svg(title)


def thin(line: Line, every: int) -> Line:
    """Every so many-th point, and the last."""
    xs, ys = line
    if every <= 1 or not len(xs):
        return line
    return [*xs[:-1:every], xs[-1]], [*ys[:-1:every], ys[-1]]


def limits(lines: Sequence[Line], target: float, maximise: bool) -> tuple[float, float]:
    """Ends of a y axis that shows the target and most of the lines: the worst values, mostly of the start, are cut."""
    values = np.array([y for line in lines for y in line[1] if y is not None and math.isfinite(y)] or [target])
    far, near = (np.percentile(values, 8), values.max()) if maximise else (np.percentile(values, 92), values.min())
    low, high = float(min(far, near, target)), float(max(far, near, target))
    pad = (high - low or abs(high) or 1) * 0.05
    return low - pad, high + pad


def span(*times: np.ndarray) -> tuple[float, float]:
    """Ends of a log axis that shows all finite values, at least a factor of 1.5 apart."""
    finite = np.concatenate([values[np.isfinite(values)] for values in times]) if times else np.zeros(0)
    if not finite.size:
        return 0.9, 1.6
    low, high = float(finite.min()) / 1.04, float(finite.max()) * 1.04
    widen = max(1.0, math.sqrt(1.5 * low / high))
    return low / widen, high * widen


class _Rows:
    """A row per entrant, named at its left; time on a shared log axis, and a column for misses at the right."""

    def __init__(self, names: Sequence[str], ends: tuple[float, float], row: float, label: str, empty: bool):
        self.row = row
        height = math.ceil(svg.TOP + svg.BOTTOM + row * len(names))
        shown = text.elided(names, svg.NAME)
        left = math.ceil(14 + svg.LETTER * max(map(len, shown.values()), default=0))
        self.axes = Axes(ends, (0, 1), log_x=True, height=height, left=left, right=MISS_WIDTH + svg.RIGHT)
        ticks = [] if empty else svg.log_ticks(*ends)
        last = self.axes.right - 14  # further right a number would run into the column's title
        self.axes.frame(label, [value for value in ticks if self.axes.px(value) < last])
        self.miss = self.axes.right + svg.RIGHT / 2  # where the column of misses begins
        self.axes.rule(self.miss, svg.TOP, self.miss, self.axes.bottom, "edge")
        self.axes.text(self.miss + MISS_WIDTH / 2, self.axes.bottom + 15, "miss")
        for i, name in enumerate(names):
            self.axes.rule(self.axes.left, self.level(i), svg.WIDTH, self.level(i), "grid")
            self.axes.name(self.level(i), name, shown[name])
        if empty:
            middle = (self.axes.left + self.axes.right) / 2, (self.axes.top + self.axes.bottom) / 2 + 4
            self.axes.text(*middle, "nobody reaches the target", css="says")

    def level(self, i: int) -> float:
        return svg.TOP + self.row * (i + 0.5)

    def missed(self, k: int, count: int) -> float:
        """Place of the k-th of `count` marks in the column of misses."""
        return self.miss + 3 + (MISS_WIDTH - 4) * (k + 0.5) / count


def dots(
    workload: str,
    names: Sequence[str],
    medians: np.ndarray,
    intervals: np.ndarray,
    times: np.ndarray,
    ends: tuple[float, float],
) -> Markup:
    """One workload's times over its fastest median, log axis: medians [names], their intervals [names, 2] (NaN for
    none), studies [names, studies]. Large dots are medians, small ones studies, rings misses."""
    found = medians[np.isfinite(medians)]
    best = float(found.min()) if found.size else math.nan
    rows = _Rows(names, ends, 15, "time / fastest median (log)", not found.size)
    axes = rows.axes
    for i, name in enumerate(names):
        level = rows.level(i)
        axes.open(svg.css(i))
        if np.isfinite(intervals[i]).all() and found.size:
            low, high = (float(v) / best for v in intervals[i])
            axes.rule(axes.px(low), level, axes.px(high), level, "range")
        missed = 0
        for j, value in enumerate(times[i]):
            if np.isfinite(value) and found.size:
                axes.dot(axes.px(value / best), level, 2, f"{name}, study {j}: {value:.4g}", "small")
            elif np.isinf(value) and np.isfinite(medians[i]):
                axes.dot(rows.missed(missed, len(times[i])), level, 2, f"{name}, study {j}: a miss", "ring")
                missed += 1
        if np.isfinite(medians[i]):
            axes.dot(axes.px(medians[i] / best), level, 4.5, f"{name}: median {medians[i]:.4g}", "dot")
        elif np.isnan(times[i]).all():
            axes.text(rows.missed(0, 1), level + 3, "no trial", css="none")
        else:
            axes.dot(rows.missed(0, 1), level, 4, f"{name}: the median study is a miss", "ring")
        axes.close()
    return axes.svg(f"Time to target on {workload}, relative to the fastest entrant")


def tuning(workload: str, names: Sequence[str], points: Sequence[Sequence[Point]], unit: str) -> Markup:
    """Every trial of one workload by its time to target, log axis: a row per entrant, in it a line per study.

    Filled: the fastest hit of a study, the trial that counts. Rings in the column at the right: misses.
    """
    studies = max((point.study for row in points for point in row), default=0) + 1
    step = min(4.0, 24.0 / studies)  # between the lines of a row
    times = np.array([point.time for row in points for point in row])
    rows = _Rows(names, span(times), max(15.0, step * studies + 5), f"{unit} to target (log)", not np.isfinite(times).any())
    axes = rows.axes
    for i, row in enumerate(points):
        axes.open(svg.css(i))
        per_study = max((point.trial for point in row), default=0) + 1
        for point in sorted(row, key=lambda point: (point.wins, point.study, point.trial)):  # winners on top
            level = rows.level(i) + step * (point.study - (studies - 1) / 2)
            if math.isfinite(point.time):
                css = "dot" if point.wins else "small"
                axes.dot(axes.px(point.time), level, 3.2 if point.wins else 2.2, point.text, css)
            else:
                axes.dot(rows.missed(point.trial, per_study), level, 1.6, point.text, "ring")
        axes.close()
    return axes.svg(f"Time to target of every trial on {workload}")


def score_strip(value: float, ends: Sequence[float] | None) -> Markup:
    """A score and its interval between 0 and 1."""
    return _strip(value, ends, lambda v: min(max(v, 0.0), 1.0), '<line x1="4" y1="9" x2="146" y2="9" class="grid"/>')


def pair_strip(ratio: float | None, ends: Sequence[float] | None, reach: float) -> Markup:
    """A pair's ratio and interval on a log axis from 1/reach to reach; the band is +-5 %."""
    if ratio is None:
        return Markup("")

    def place(value: float) -> float:
        return 0.5 + 0.5 * max(-1.0, min(1.0, math.log(value) / math.log(reach)))

    left, right = 4 + 142 * place(1 / 1.05), 4 + 142 * place(1.05)
    under = f'<rect x="{left:.1f}" y="1" width="{right - left:.1f}" height="16" class="band"/>'
    return _strip(ratio, ends, place, under + '<line x1="75" y1="1" x2="75" y2="17" class="zero"/>')


def _strip(value: float, ends: Sequence[float] | None, place, under: str) -> Markup:
    """A point with a whisker; `place` maps a value to [0, 1]."""
    at = [4 + 142 * place(v) for v in (value, *(ends or ()))]
    whisker = f'<line x1="{at[1]:.1f}" y1="9" x2="{at[2]:.1f}" y2="9" class="whisker"/>' if ends else ""
    point = f'<circle cx="{at[0]:.1f}" cy="9" r="3.5" class="point"/>'
    return Markup(f'<svg class="strip" viewBox="0 0 150 18" aria-hidden="true">{under}{whisker}{point}</svg>')
