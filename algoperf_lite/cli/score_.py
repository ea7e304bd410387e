"""`score`: a run directory's scores as a table or JSON."""

import argparse
import json

from algoperf_lite import errors

HELP = "score a run directory"
EXAMPLES = ("score runs/demo", "score runs/demo --json")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("dir", help="a run directory")
    parser.add_argument("--json", action="store_true", help="machine-readable; the schema is in docs/run_directory.md")


def main(args: argparse.Namespace) -> int:
    """Prints the score; an unfinished board has none."""
    import scoring
    from algoperf_lite import results

    try:
        summary = results.score(args.dir)
    except scoring.Unscorable as e:
        raise errors.UserError(f"{args.dir}: {e}; see `algoperf-lite status {args.dir}`") from e
    if args.json:
        print(json.dumps(summary, indent=1))
        return 0
    from rich.console import Console

    from algoperf_lite.report import terminal

    terminal.print_summary(summary, Console())
    return 0
