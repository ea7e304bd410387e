"""Numbers and words, the same on the page, in the tables and in the terminal."""

from collections.abc import Iterable
from typing import Any

from algoperf_lite.errors import counted

MISS = "\N{EN DASH}"
UNITS = {
    "reference_steps": "reference steps",
    "steps_x_cost": "optimizer steps x c",
    "seconds": "seconds",
    "steps": "optimizer steps",
}
# flags told on top: these take the result away, or much of it
ALERTS = ("another board?", "smoke", "unfinished", "steps only", "A/A failed", "one study", "few studies")
LINKS = {"better": "than", "worse": "than", "equivalent": "to", "not separable": "from"}


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


def elided(names: Iterable[str], width: int) -> dict[str, str]:
    """Long names without their middle, or another part where two would look alike; longer than `width` if they must."""
    names = tuple(dict.fromkeys(names))
    for head in sorted(range(1, width - 1), key=lambda head: abs(head - width // 2)):
        found = {name: _cut(name, head, width) for name in names}
        if len(set(found.values())) == len(names):
            return found
    return elided(names, width + 1)


def _cut(name: str, head: int, width: int) -> str:
    return name if len(name) <= width else f"{name[:head]}\N{HORIZONTAL ELLIPSIS}{name[head + 1 - width :]}"


def verdict(pair: dict[str, Any]) -> str:
    """A sentence part: `a` is ... than/to `b`."""
    return ", ".join([pair["verdict"], *pair["additions"]])


def resolving_power(summary: dict[str, Any]) -> str:
    """What this board can tell apart: as measured, else as a rule."""
    measured = summary["resolves"]
    rule = "As a rule, 3 studies of 9 workloads resolve differences of about 12 %."
    if summary["studies"] == 1:
        return f"One study resolves nothing: without a repetition there is no noise estimate. {rule}"
    if measured is None:
        return rule
    base = len(summary["workloads"]) - len(summary["held_out"])
    return (
        f"The typical pair on this board ({counted(summary['studies'], 'study')}, {counted(base, 'workload')}) is known to "
        f"within a factor of {1 + measured:.2f} either way; smaller differences stay 'not separable'."
    )


def seconds(compared: bool) -> str:
    """Whether seconds may be compared."""
    return "Seconds: one machine." if compared else "Seconds withheld: more than one machine."


def headline(summary: dict[str, Any]) -> str:
    """The result in one sentence, of a summary by rank (`standing.by_rank`)."""
    if summary["status"] == "unfinished":
        missing = len(summary["missing"])
        return f"Unfinished: {counted(missing, 'trial')} {'is' if missing == 1 else 'are'} missing, so there is no score."
    if summary["status"] == "smoke":
        return "A smoke run: nothing is ranked."
    if summary["headline"] == "pairs" and summary["pairs"]:
        pair, others = summary["pairs"][0], len(summary["pairs"]) - 1
        more = f" (and {counted(others, 'more pair')} below)" if others else ""
        return f"{pair['a']} is {pair['verdict']} {LINKS[pair['verdict']]} {pair['b']}{more}."
    return _highest(summary) if summary["scores"] else "No entrants."


def _highest(summary: dict[str, Any]) -> str:
    """Who scores highest, and from whom that does not tell it apart."""
    twins = {control["b"] for control in summary["aa"]}  # the same file again: no rival
    scores = {row["submission"]: row["score"] for row in summary["scores"] if row["submission"] not in twins}
    (first, best), *others = scores.items()
    if not best:
        return "No submission scores above 0."
    if not others:
        return f"{first} is alone on the board: score {score(best)}."
    said = f"{first} scores highest ({score(best)})"
    verdicts = {pair["b"]: pair["verdict"] for pair in summary["pairs"] if pair["a"] == first}
    verdicts |= {pair["a"]: "worse" for pair in summary["pairs"] if pair["b"] == first}  # A is the winner
    rivals = [(name, value) for name, value in others if verdicts.get(name) != "better"]
    if not rivals:
        return f"{said} and is better than every other submission."
    name, value = rivals[0]
    found = verdicts.get(name, "not separable")
    how = "slower in the direct comparison than" if found == "worse" else f"{found} {LINKS[found]}"
    more = f" and {len(rivals) - 1} more" if len(rivals) > 1 else ""
    return f"{said} but is {how} {name} ({score(value)}){more}."


def rule_changes(found: dict[str, int] | None) -> str:
    """How much hangs on the rules, of `standing.changes`; nothing where there is nothing to change."""
    if found is None:
        return ""
    if not found["first"]:
        return f"No rule change of {found['known']} moves the first place."
    moves = "moves" if found["first"] == 1 else "move"
    return f"{found['first']} of {counted(found['known'], 'rule change')} {moves} the first place."
