"""`report`: one self-contained HTML page, with tables and figures beside it."""

import argparse
import pathlib

HELP = "write the HTML report of a run directory, and its tables (CSV, Markdown, LaTeX)"
EXAMPLES = ("report runs/demo", "report runs/demo --out comparison.html")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("dir", help="a run directory")
    parser.add_argument("--out", type=pathlib.Path, help="the page; default DIR/report.html")


def main(args: argparse.Namespace) -> int:
    """Prints where the page lies."""
    from algoperf_lite.report import page

    print(f"report: {page.write(args.dir, args.out)}")
    return 0
