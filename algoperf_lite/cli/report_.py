"""`report`: one self-contained HTML page, with tables and figures beside it."""

import argparse
import pathlib

HELP = "write the HTML report of a run directory, and its tables (CSV, Markdown, LaTeX)"
EXAMPLES = ("report runs/demo", "report runs/demo --out comparison.html", "report runs/demo --tensorboard curves")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("dir", help="a run directory")
    parser.add_argument("--out", type=pathlib.Path, help="the page; default DIR/report.html")
    parser.add_argument("--light", action="store_true", help="plain figures even where plotly is installed: 5 MB less")
    parser.add_argument("--tensorboard", type=pathlib.Path, metavar="FOLDER", help="also write curves as event files")


def main(args: argparse.Namespace) -> int:
    """Prints where the page lies."""
    from algoperf_lite.report import page

    print(f"report: {page.write(args.dir, args.out, args.light)}")
    if args.tensorboard:
        from algoperf_lite.report import tensorboard

        count = tensorboard.write(args.dir, args.tensorboard)
        print(f"event files of {count} trials: {args.tensorboard}; see them with `tensorboard --logdir {args.tensorboard}`")
    return 0
