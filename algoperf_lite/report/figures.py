"""Small inline SVG charts: pure functions from numbers to markup. Colours are CSS classes `c0`..`c7` of the page.

Coordinates are SVG units, about one CSS pixel each on a phone. All text goes through `escape`.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

WIDTH, HEIGHT = 400, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 34
COLOURS = 8

Line = tuple[Sequence[float], Sequence[float | None]]


class _Axes:
    """A plot area with linear or log x and linear y; collects markup."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], log_x: bool = False, height: int = HEIGHT):
        self.x, self.y, self.log_x, self.height = x, y, log_x, height
        self.left, self.right, self.top, self.bottom = LEFT, WIDTH - RIGHT, TOP, height - BOTTOM
        self.parts: list[str] = []

    def px(self, value: float) -> float:
        low, high = self.x
        if self.log_x:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def py(self, value: float) -> float:
        low, high = self.y
        value = min(max(value, low), high)  # a spike leaves the plot flat along its edge, not across the page
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)

    def text(self, x: float, y: float, text: str, anchor: str = "middle", css: str = "") -> None:
        extra = f' class="{css}"' if css else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{escape(text)}</text>')

    def rule(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>')

    def line(self, points: Line, css: str) -> None:
        pairs = [(x, y) for x, y in zip(*points, strict=True) if y is not None and math.isfinite(y)]
        if pairs:
            path = " ".join(f"{self.px(x):.1f},{self.py(y):.1f}" for x, y in pairs)
            self.parts.append(f'<polyline points="{path}" class="{css}"/>')

    def dot(self, x: float, y: float, radius: float, css: str, title: str) -> None:
        self.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="{css}"><title>{escape(title)}</title></circle>'
        )

    def frame(self, x_label: str, x_ticks: Sequence[float], y_ticks: Sequence[float] = ()) -> None:
        for value in y_ticks:
            self.rule(self.left, self.py(value), self.right, self.py(value), "grid")
            self.text(self.left - 6, self.py(value) + 4, _tick(value), "end")
        for value in x_ticks:
            self.rule(self.px(value), self.top, self.px(value), self.bottom, "grid")
            self.text(self.px(value), self.bottom + 15, _tick(value))
        self.text((self.left + self.right) / 2, self.height - 4, x_label, css="label")

    def svg(self, title: str) -> Markup:
        box = f'viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(title)}"'
        return Markup(f"<svg {box}>{''.join(self.parts)}</svg>")


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers in [low, high], about `count` of them, steps of 1, 2 or 5."""
    raw = 0.7 * (high - low) / count  # rounding up follows
    scale = 10 ** math.floor(math.log10(raw))
    step = scale * next((m for m in (1, 2, 5) if m * scale >= raw * 0.999), 10)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def profile(names: Sequence[str], taus: np.ndarray, rho: np.ndarray) -> Markup:
    """Performance profile: share of workloads [names, taus] solved within tau times the best time."""
    axes = _Axes((1, 4), (0, 1))
    axes.frame("within this factor of the fastest", [1, 2, 3, 4], [0, 0.25, 0.5, 0.75, 1])
    for i, row in reversed(list(enumerate(rho))):  # the first entrant on top
        xs = [x for tau in taus[1:] for x in (tau, tau)]
        ys = [y for before, after in itertools.pairwise(row) for y in (before, after)]
        axes.line(([taus[0], *xs], [row[0], *ys]), f"bold c{i % COLOURS}")
    return axes.svg("Performance profile of " + ", ".join(names))


def curves(
    title: str, faint: Sequence[tuple[int, Line]], bold: Sequence[tuple[int, Line]], target: float, maximise: bool
) -> Markup:
    """Learning curves of one workload: (colour, line) of all trials, of the median study's trial, and the target."""
    lines = [line for _, line in [*faint, *bold]]
    low, high = limits(lines, target, maximise)
    end = max((x for line in lines for x in line[0]), default=1)
    axes = _Axes((0, end), (low, high))
    axes.frame("charged reference steps", ticks(0, end, 4), ticks(low, high, 4))
    for colour, line in reversed(faint):  # the first entrant on top
        axes.line(line, f"faint c{colour % COLOURS}")
    for colour, line in reversed(bold):
        axes.line(line, f"bold c{colour % COLOURS}")
    axes.rule(axes.left, axes.py(target), axes.right, axes.py(target), "target")
    return axes.svg(title)


def limits(lines: Sequence[Line], target: float, maximise: bool) -> tuple[float, float]:
    """Ends of a y axis that shows the target and most of the lines: the worst values, mostly of the start, are cut."""
    values = np.array([y for line in lines for y in line[1] if y is not None and math.isfinite(y)] or [target])
    far, near = (np.percentile(values, 8), values.max()) if maximise else (np.percentile(values, 92), values.min())
    low, high = float(min(far, near, target)), float(max(far, near, target))
    pad = (high - low or abs(high) or 1) * 0.05
    return low - pad, high + pad


def dots(workloads: Sequence[str], names: Sequence[str], medians: np.ndarray, times: np.ndarray) -> Markup:
    """Time over the fastest median, log axis: large dots are medians, small ones studies; a row per workload.

    medians [names, workloads], times [names, workloads, studies]; a miss is a ring at the right edge.
    """
    best = np.where(np.isfinite(medians), medians, np.inf).min(axis=0)
    solved = np.isfinite(best)
    relative = times[:, solved] / best[solved][:, None]
    finite = relative[np.isfinite(relative)]
    low, high = (min(0.95, finite.min() * 0.97), max(1.5, finite.max() * 1.1)) if finite.size else (0.9, 2.0)
    row = 12 + 9 * len(names)
    axes = _Axes((low, high * 1.12), (0, 1), log_x=True, height=TOP + BOTTOM + (row + 16) * len(workloads))
    axes.left = 14
    marks = [v for v in (0.25, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 10, 20, 50, 100) if low <= v <= high]
    axes.frame("time / fastest median (log)", marks)
    for w, workload in enumerate(workloads):
        y = TOP + w * (row + 16) + 12
        axes.text(axes.left, y, workload + ("" if solved[w] else ": nobody reaches the target"), "start", "name")
        for s, name in enumerate(names):
            level = y + 10 + 9 * s
            axes.rule(axes.left, level, axes.right, level, "grid")
            for value in times[s, w]:
                if np.isfinite(value) and solved[w]:
                    axes.dot(axes.px(value / best[w]), level, 2, f"small c{s % COLOURS}", f"{name}: {value:.4g}")
            if np.isfinite(medians[s, w]):
                css, at = f"dot c{s % COLOURS}", axes.px(medians[s, w] / best[w])
                axes.dot(at, level, 4, css, f"{name}: median {medians[s, w]:.4g}")
            else:
                axes.dot(axes.right - 5, level, 3.5, f"ring c{s % COLOURS}", f"{name}: median is a miss")
    return axes.svg("Time to target relative to the fastest entrant, per workload")


def strip(ratio: float | None, ends: Sequence[float] | None, reach: float) -> Markup:
    """A pair's ratio and interval on a log axis from 1/reach to reach; the band is +-5 %."""
    if ratio is None:
        return Markup("")
    width, middle = 150, 9

    def px(value: float) -> float:
        return width / 2 * (1 + max(-1.0, min(1.0, math.log(value) / math.log(reach))))

    parts = [f'<rect x="{px(1 / 1.05):.1f}" y="1" width="{px(1.05) - px(1 / 1.05):.1f}" height="16" class="band"/>']
    parts.append(f'<line x1="{width / 2}" y1="1" x2="{width / 2}" y2="17" class="zero"/>')
    if ends is not None:
        parts.append(f'<line x1="{px(ends[0]):.1f}" y1="{middle}" x2="{px(ends[1]):.1f}" y2="{middle}" class="whisker"/>')
    parts.append(f'<circle cx="{px(ratio):.1f}" cy="{middle}" r="3.5" class="point"/>')
    return Markup(f'<svg class="strip" viewBox="0 0 {width} 18" aria-hidden="true">{"".join(parts)}</svg>')


def _tick(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:g}"
