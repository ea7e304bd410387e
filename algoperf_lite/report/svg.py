"""Plot areas, marks and keys as inline SVG. Colours and dashes are CSS classes of the page, so they follow dark mode.

Coordinates are SVG units, about one CSS pixel each on a phone. All text goes through `escape`.
"""

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 8, 34
# The submissions' colours on white and on black: five of Okabe and Ito's, dark or light enough for thin lines, then violet
# and two greys far apart; their other blue and yellow lie too near to the first ones once they are dark enough.
LIGHT = ("#0072b2", "#c84f00", "#00835f", "#b8558f", "#946b00", "#6a3fc4", "#17181a", "#85898e")
DARK = ("#4ea6df", "#f08246", "#35c79b", "#e095c0", "#e9b83a", "#b7a0f5", "#f5f5f4", "#8c9196")
COLOURS, STYLES = len(LIGHT), 3
NAME, LETTER = 24, 5.8  # most characters beside a row, and the width of one

Line = tuple[Sequence[float], Sequence[float | None]]


def css(i: int) -> str:
    """Classes of entrant `i`: a colour, and from the ninth on other dashes and marks, so that 24 can be told apart."""
    return f"c{i % COLOURS} d{i // COLOURS % STYLES}"


def key(i: int) -> Markup:
    """The mark of entrant `i` for legends and tables: a dash with a dot, square or diamond."""
    marks = (
        '<circle cx="10" cy="5" r="4"/>',
        '<rect x="6.5" y="1.5" width="7" height="7"/>',
        '<path d="M10 0l5 5-5 5-5-5z"/>',
    )
    line = '<polyline points="0,5 20,5" class="bold"/>'
    return Markup(
        f'<svg class="key {css(i)}" viewBox="0 0 20 10" aria-hidden="true">{line}{marks[i // COLOURS % STYLES]}</svg>'
    )


class Axes:
    """A plot area with linear or log axes; collects markup."""

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        log_x: bool = False,
        width: int = WIDTH,
        height: int = HEIGHT,
        left: int = LEFT,
        right: int = RIGHT,
    ):
        self.x, self.y, self.log_x, self.width, self.height = x, y, log_x, width, height
        self.left, self.right, self.top, self.bottom = left, width - right, TOP, height - BOTTOM
        self.parts: list[str] = []

    def px(self, value: float) -> float:
        """Values beyond an end are drawn at it: a spike lies flat along the edge, not across the page."""
        low, high = self.x
        value = min(max(value, low), high)
        if self.log_x:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def py(self, value: float) -> float:
        low, high = self.y
        value = min(max(value, low), high)
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)

    def text(self, x: float, y: float, text: str, anchor: str = "middle", css: str = "") -> None:
        extra = f' class="{css}"' if css else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{escape(text)}</text>')

    def name(self, y: float, name: str, short: str) -> None:
        """A row's name left of the plot, as short as it must be; the whole name shows on pointing at it."""
        place = f'x="{self.left - 8}" y="{y + 3.5:.1f}" text-anchor="end" class="row"'
        self.parts.append(f"<text {place}>{escape(short)}<title>{escape(name)}</title></text>")

    def rule(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>')

    def line(self, points: Line, css: str) -> None:
        pairs = [(x, y) for x, y in zip(*points, strict=True) if y is not None and math.isfinite(y)]
        if pairs:
            path = " ".join(f"{self.px(x):.4g},{self.py(y):.4g}" for x, y in pairs)
            self.parts.append(f'<polyline points="{path}" class="{css}"/>')

    def area(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], css: str) -> None:
        """The band between two lines over the same `xs`."""
        around = [*zip(xs, high, strict=True), *reversed(list(zip(xs, low, strict=True)))]
        path = " ".join(f"{self.px(x):.4g},{self.py(y):.4g}" for x, y in around)
        self.parts.append(f'<polygon points="{path}" class="{css}"/>')

    def open(self, css: str) -> None:
        """Start a group; its class holds for all marks until `close`."""
        self.parts.append(f'<g class="{css}">')

    def close(self) -> None:
        self.parts.append("</g>")

    def dot(self, x: float, y: float, radius: float, title: str, css: str = "") -> None:
        extra = f' class="{css}"' if css else ""
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}"{extra}><title>{escape(title)}</title></circle>')

    def frame(self, x_label: str, x_ticks: Sequence[float], y_ticks: Sequence[float] = ()) -> None:
        for value in y_ticks:
            self.rule(self.left, self.py(value), self.right, self.py(value), "grid")
            self.text(self.left - 6, self.py(value) + 4, tick(value), "end")
        for value in x_ticks:
            self.rule(self.px(value), self.top, self.px(value), self.bottom, "grid")
            self.text(self.px(value), self.bottom + 15, tick(value))
        self.text((self.left + self.right) / 2, self.height - 4, x_label, css="label")

    def svg(self, title: str) -> Markup:
        box = f'viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(title)}"'
        return Markup(f"<svg {box}>{''.join(self.parts)}</svg>")


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers in [low, high], about `count` of them, steps of 1, 2 or 5."""
    raw = 0.7 * (high - low) / count  # rounding up follows
    scale = 10 ** math.floor(math.log10(raw))
    step = scale * next((m for m in (1, 2, 5) if m * scale >= raw * 0.999), 10)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers for a log axis from `low` to `high`, about `count` at most; over a narrow range, those of `ticks`."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1, 1.5, 2, 3, 4, 6, 8), (1, 2, 4), (1, 2, 5), (1, 3), (1,)):
        found = [v for k in decades for m in mantissas if low <= (v := float(f"{m}e{k}")) <= high]
        if len(found) <= count:
            break
    else:
        found = found[:: math.ceil(len(found) / count)]
    return found if len(found) >= 2 else ticks(low, high, max(1, count - 1))


def tick(value: float) -> str:
    """A number beside an axis."""
    if abs(value) >= 1_000_000:
        return f"{value / 1_000_000:g}M"
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"
