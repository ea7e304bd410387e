"""`score`: the scores of a run directory, or of AlgoPerf's own logs, as a table or JSON."""

import argparse
import json
from typing import Any

from algoperf_lite import errors

HELP = "score a run directory, or a folder of AlgoPerf's own logs"
EXAMPLES = ("score runs/demo", "score runs/demo --json", "score logs/self_tuning --benchmark algoperf-v0.5-self")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("dir", help="a run directory; with --benchmark a folder of AlgoPerf's logs")
    benchmark_argument(parser)
    parser.add_argument("--json", action="store_true", help="machine-readable; the schema is in docs/run_directory.md")


def benchmark_argument(parser: argparse.ArgumentParser) -> None:
    """`--benchmark`, shared by the commands that read results."""
    parser.add_argument(
        "--benchmark", metavar="NAME", help="the board of AlgoPerf's logs, such as algoperf-v0.6-external, or a TOML file"
    )


def summary(dir: str, benchmark: str | None) -> dict[str, Any]:
    """The summary of a scored board; an unfinished one has none."""
    import scoring
    from algoperf_lite import results

    try:
        return results.score(dir, benchmark)
    except scoring.Unscorable as e:
        raise errors.UserError(f"{dir}: {e}; see `algoperf-lite status {dir}`") from e


def main(args: argparse.Namespace) -> int:
    """Prints the score."""
    found = summary(args.dir, args.benchmark)
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    from rich.console import Console

    from algoperf_lite.report import terminal

    terminal.print_summary(found, Console())
    return 0
