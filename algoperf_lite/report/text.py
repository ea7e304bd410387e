"""Numbers and words, the same on the page, in the tables and in the terminal."""

from typing import Any

MISS = "\N{EN DASH}"
UNITS = {
    "reference_steps": "reference steps",
    "steps_x_cost": "optimizer steps x c",
    "seconds": "seconds",
    "steps": "optimizer steps",
}


def number(value: float | None, digits: int = 3) -> str:
    """Significant digits, thousands apart, no exponents for numbers of everyday size; a dash for none."""
    if value is None:
        return MISS
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def score(value: float | None) -> str:
    return MISS if value is None else f"{value:.3f}"


def ratio(value: float | None) -> str:
    return MISS if value is None else f"{value:.3f}" if value < 10 else f"{value:.3g}"


def interval(ends: list[float] | None, one=number) -> str:
    return MISS if ends is None else f"{one(ends[0])} to {one(ends[1])}"


def percent(value: float | None) -> str:
    return MISS if value is None else f"{value:.1%}" if value < 0.1 else f"{value:.0%}"


def further(ends: list[int | None]) -> str:
    """A range of further studies, as `Verdict.further` has it."""
    low, high = ends
    if low is None:
        return "over 20 in all"
    if high is None:
        return f"{low} or more"
    return "none" if high == 0 else str(low) if low == high else f"{low} to {high}"


def verdict(pair: dict[str, Any]) -> str:
    """A sentence part: `a` is ... than/to `b`."""
    return ", ".join([pair["verdict"], *pair["additions"]])


def resolving_power(summary: dict[str, Any]) -> str:
    """What this board can tell apart, in one or two sentences."""
    measured = summary["resolves"]
    rule = "As a rule, 3 studies of 9 workloads resolve differences of about 12 %."
    if summary["studies"] == 1:
        return f"One study resolves nothing: without a repetition there is no noise estimate. {rule}"
    if measured is None:
        return rule
    return (
        f"The typical pair on this board ({summary['studies']} studies, {len(summary['workloads'])} workloads) is "
        f"known to within a factor of {1 + measured:.2f} either way; smaller differences stay 'not separable'. {rule}"
    )


def headline(summary: dict[str, Any]) -> str:
    """The result in one sentence."""
    if summary["status"] == "unfinished":
        return f"Unfinished: {len(summary['missing'])} trials are missing, so there is no score."
    if summary["status"] == "smoke":
        return "A smoke run: everything ran; nothing is ranked."
    if summary["headline"] == "pairs" and summary["pairs"]:
        pair = summary["pairs"][0]
        link = {"better": "than", "worse": "than", "equivalent": "to", "not separable": "from"}[pair["verdict"]]
        more = f" (and {len(summary['pairs']) - 1} more pairs below)" if len(summary["pairs"]) > 1 else ""
        return f"{pair['a']} is {pair['verdict']} {link} {pair['b']}{more}."
    if summary["scores"]:
        first = summary["scores"][0]
        return f"{first['submission']} scores highest, {score(first['score'])}."
    return "No entrants."
