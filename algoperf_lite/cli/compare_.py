"""`compare`: two submissions of one board, or two boards, with a verdict."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from algoperf_lite.cli import score_

if TYPE_CHECKING:
    from algoperf_lite.report import terminal

HELP = "compare two submissions of a board, or two boards, with a verdict"
EXAMPLES = (
    "compare nadamw schedule_free_adamw --in runs/demo",
    "compare runs/before runs/after",
    "compare runs/mine:my_opt runs/theirs:nadamw --json",
    "compare shampoo baseline --in logs/external_tuning_v06 --benchmark algoperf-v0.6-external",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("a", help="a submission of the board --in; or a folder, or FOLDER:SUBMISSION")
    parser.add_argument("b", help="what it is compared with")
    parser.add_argument("--in", dest="board", metavar="FOLDER", help="the board that has both submissions")
    score_.benchmark_argument(parser)
    parser.add_argument("--json", action="store_true", help="machine-readable")


def main(args: argparse.Namespace) -> int:
    """Prints a table per pair, its verdict, and what to know before believing it."""
    from algoperf_lite.results import compare

    found = compare.compare(args.a, args.b, args.board, args.benchmark)
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        _show(found)
    return 0


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console

    from algoperf_lite.report import terminal, text

    console = Console()
    for row in found["pairs"]:
        pair = row["verdict"]
        said = f"A = {pair['a']} is {pair['verdict']} {text.LINKS[pair['verdict']]} B = {pair['b']}"
        console.print()
        terminal.say(console, ", ".join([said, *pair["additions"]]) + ".", "bold")
        terminal.print_table(_medians(row["workloads"], found), console)
        terminal.say(
            console,
            f"Time of A over time of B: {text.ratio(pair['ratio'])}, {text.interval(pair['interval'], text.ratio)}; "
            f"interval at level {1 - pair['alpha']:.3f} (one of four looks, Holm over the pairs of the board): it "
            f"excludes 1 exactly when the verdict says so. Further studies to show "
            f"5 %: {text.further(pair['further']['5%'])}, "
            f"10 %: {text.further(pair['further']['10%'])}.",
        )
    if found["seconds_compared"] and found["ranked_by"] != "seconds":
        terminal.say(console, text.seconds(True))
    for note in found["notes"]:
        terminal.say(console, note)


def _medians(workloads: list[dict[str, Any]], found: dict[str, Any]) -> "terminal.Table":
    """A block per workload, in it a row per side and their ratio."""
    from algoperf_lite.report import terminal, text

    seconds = found["seconds_compared"] and found["ranked_by"] != "seconds"
    blocks = []
    for line in workloads:
        rows = []
        for name, side, ratio in (("A", line["a"], text.ratio(line["ratio"])), ("B", line["b"], "")):
            hits = f"{side['hits']}/{side['studies']}" if side["studies"] else "no trial"
            row = [name, text.number(side["median"]), text.interval(side["ci95"]), hits]
            rows.append((*row, *([text.number(side["seconds"])] if seconds else []), ratio))
        blocks.append((terminal.heading(line["workload"], line.get("held_out_of")), rows))
    columns = ("", "median", "95 % interval", "hits", *(["seconds"] if seconds else []), "A / B")
    return terminal.Table(f"Time to target ({text.UNITS[found['ranked_by']]})", columns, blocks)
