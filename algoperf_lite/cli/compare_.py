"""`compare`: two submissions of one board, or two boards, with a verdict."""

import argparse
import json
from typing import Any

from algoperf_lite.cli import score_

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


def _sentence(pair: dict[str, Any]) -> str:
    link = {"better": "than", "worse": "than", "equivalent": "to", "not separable": "from"}[pair["verdict"]]
    return ", ".join([f"A = {pair['a']} is {pair['verdict']} {link} B = {pair['b']}", *pair["additions"]])


def _show(found: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from algoperf_lite.report import text

    console = Console()
    for row in found["pairs"]:
        pair = row["verdict"]
        console.print(f"\n[bold]{escape(_sentence(pair))}[/]")
        unit = text.UNITS[found["ranked_by"]]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"Time to target ({unit})", title_justify="left")
        for i, name in enumerate(("workload", "A", "95 % interval", "B", "95 % interval", "A / B", "hits A", "hits B")):
            table.add_column(name, justify="left" if i == 0 else "right")
        if found["seconds_compared"] and found["ranked_by"] != "seconds":
            table.add_column("s A", justify="right")
            table.add_column("s B", justify="right")
        for line in row["workloads"]:
            a, b = line["a"], line["b"]
            cells = [escape(line["workload"])]
            for side in (a, b):
                cells += [text.number(side["median"]), text.interval(side["ci95"])]
            cells += [text.ratio(line["ratio"]), *(f"{side['hits']} of {side['studies']}" for side in (a, b))]
            if found["seconds_compared"] and found["ranked_by"] != "seconds":
                cells += [text.number(side["seconds"]) for side in (a, b)]
            table.add_row(*cells)
        console.print(table)
        console.print(
            f"time of A over time of B {text.ratio(pair['ratio'])}, interval {text.interval(pair['interval'], text.ratio)} "
            f"at level {1 - pair['alpha']:.3f}; further studies to show 5 %: {text.further(pair['further']['5%'])}, "
            f"10 %: {text.further(pair['further']['10%'])}"
        )
    for note in found["notes"]:
        console.print(f"[dim]{escape(note)}[/]")
