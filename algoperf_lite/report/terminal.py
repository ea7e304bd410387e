"""The short form: what `run`, `score` and `compare` print when they are done.

Numbers are never broken; where a line is too long, names give way in their middle. In a pipe lines are as long as they
need to be.
"""

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from algoperf_lite.errors import counted
from algoperf_lite.report import standing, text

STYLE = {"better": "bold blue", "worse": "yellow", "equivalent": "green", "not separable": "dim"}
PLAIN: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}  # as it is, in one line
NAME = 12  # characters of a name that are always shown


@dataclasses.dataclass(frozen=True)
class Table:
    """A title, what stands above the columns, and blocks of rows under a heading ("" for none).

    The first column is of names, the others stand at the right; with `says` the last is of words and may be styled.
    """

    title: str
    columns: tuple[str, ...]
    blocks: Sequence[tuple[str, Sequence[tuple[str, ...]]]]
    says: bool = False


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """Headline, medians with their intervals, pairs and ranking (small fields: pairs first), and the flags."""
    summary = standing.by_rank(summary)
    console.print()
    say(console, text.headline(summary), "bold")
    changes = standing.changes(summary)
    if said := text.rule_changes(changes):
        say(console, f"{said} `algoperf-lite report` shows {'which' if changes and changes['first'] else 'them'}.")
    if summary["cells"] and summary["status"] != "smoke":
        print_table(_medians(summary), console)
        if summary["ranked_by"] != "seconds":
            say(console, text.seconds(len(summary["hosts"]) < 2))
    order = [_pairs, _scores] if summary["headline"] == "pairs" else [_scores, _pairs]
    for part in order if summary["scores"] else ():
        part(summary, console)
    for control in summary["aa"]:
        word = "passed" if control["passed"] else "FAILED"
        if not control["passed"] and control["ratio"] is not None and control["compared"] and not control["unequal"]:
            word = "FAILED on time"
        said = (
            f"A/A {control['a']} = {control['b']}: {word}, {counted(control['compared'], 'evaluation')} compared, "
            f"{counted(len(control['unequal']), 'trial')} unequal, time ratio {text.ratio(control['ratio'])}"
        )
        say(console, said, "green" if control["passed"] else "bold red")
    for flag in summary["flags"]:
        say(console, f"{flag['kind']}: {flag['text']}", "yellow" if flag["kind"] in text.ALERTS else "dim")


def say(console: Console, line: str, style: str = "dim") -> None:
    """A remark; on a terminal broken between words."""
    console.print(textwrap.fill(line, console.width) if console.is_terminal else line, style=style, **PLAIN)


def print_table(table: Table, console: Console) -> None:
    """Headings as lines of their own; no trailing blanks."""
    rows = [row for _, block in table.blocks for row in block]
    indent = "  " if any(heading for heading, _ in table.blocks) else ""
    counted = len(table.columns) - table.says  # the last words may run on
    widths = [max(len(row[i]) for row in [table.columns, *rows]) for i in range(counted)]
    room = console.width - len(indent) - sum(widths[1:]) - 2 * (len(table.columns) - 1)
    room -= max(len(row[-1].split(",")[0]) for row in rows) if table.says else 0
    if console.is_terminal:
        widths[0] = min(widths[0], max(room, NAME))
    names = text.elided((row[0] for row in rows), max(widths[0], 3))
    widths[0] = max(map(len, [table.columns[0], *names.values()]))

    def line(row: tuple[str, ...]) -> str:
        cells = [names.get(row[0], row[0]).ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
        return (indent + "  ".join([*cells, *row[counted:]])).rstrip()

    console.print(f"\n{table.title}", style="bold", **PLAIN)
    console.print(line(table.columns), style="dim", **PLAIN)
    for heading, block in table.blocks:
        if heading:
            console.print(heading, style="bold", **PLAIN)
        for row in block:
            said = Text(line(row))
            if table.says:
                said.stylize(STYLE.get(row[-1].split(",")[0], ""), len(said) - len(row[-1]))
            console.print(said, **PLAIN)


def _medians(summary: dict[str, Any]) -> Table:
    """A block per workload; seconds only where they are not the median itself, and of one machine."""
    seconds = summary["ranked_by"] != "seconds" and len(summary["hosts"]) < 2
    missed = any(cell["best"] is not None for row in summary["cells"].values() for cell in row.values())
    blocks = []
    for workload in summary["workloads"]:
        rows = []
        for name in summary["entrants"]:
            cell = summary["cells"][name][workload]
            row = [name, text.number(cell["median"]) + ("*" if cell["starred"] else "")]
            row += [text.interval(cell["ci95"]), f"{cell['hits']}/{cell['studies']}" if cell["studies"] else "no trial"]
            row += ["" if cell["best"] is None else text.number(cell["best"])] if missed else []
            row += [text.number(summary["steps_to_target"][name][workload])]
            row += [text.number(summary["time_to_target_s"][name][workload])] if seconds else []
            rows.append(tuple(row))
        blocks.append((heading(workload, summary["held_out"].get(workload)), rows))
    unit = text.UNITS[summary["ranked_by"]]
    best = ["best of misses"] if missed else []
    columns = ("submission", "median", "95 % interval", "hits", *best, "steps", *(["seconds"] if seconds else []))
    return Table(f"Time to target ({unit}): medians over studies", columns, blocks)


def heading(workload: str, held_out_of: str | None) -> str:
    """A workload's line."""
    return f"{workload} (held out of {held_out_of})" if held_out_of else workload


def _pairs(summary: dict[str, Any], console: Console) -> None:
    blocks = []
    for a in summary["entrants"]:
        mine = [pair for pair in summary["pairs"] if pair["a"] == a]
        rows = [
            (
                *(pair["b"], text.ratio(pair["ratio"]), text.interval(pair["interval"], text.ratio)),
                *(text.further(pair["further"]["5%"]), text.verdict(pair)),
            )
            for pair in mine
        ]
        blocks += [(f"A = {a}", rows)] if rows else []
    if blocks:
        columns = ("B", "A / B", "interval", "+ studies", "A is")
        print_table(Table("Pairs: time of A over time of B", columns, blocks, says=True), console)
        say(console, "+ studies: as many more as would tell a difference of 5 %.")
        say(console, text.resolving_power(summary))


def _scores(summary: dict[str, Any], console: Console) -> None:
    rows = [
        (
            row["submission"] + (" (untuned)" if row["untuned"] else ""),
            *(text.score(row["score"]), text.interval(row["ci95"], text.score), str(row["rank"])),
            *(text.interval(row["rank_ci95"]), text.score(row["score_vs_reference"])),
        )
        for row in summary["scores"]
    ]
    columns = ("submission", "score", "95 % interval", "rank", "95 % interval", "vs reference")
    print_table(Table("Score", columns, [("", rows)]), console)
    say(console, f"Interval of the {summary['estimand']}.")
