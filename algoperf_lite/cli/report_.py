"""`report`: one self-contained HTML page, with tables and figures beside it."""

import argparse
import contextlib
import pathlib
from collections.abc import Iterator

from algoperf_lite import errors
from algoperf_lite.cli import score_

HELP = "write the HTML report of a run directory or of AlgoPerf's logs, with its tables and figures as files"
EXAMPLES = (
    "report runs/demo",
    "report runs/demo --out comparison.html --light",
    "report runs/demo --tensorboard curves",
    "report logs/self_tuning --benchmark algoperf-v0.5-self",
)

LARGE = 5_000_000  # bytes of a page


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("dir", help="a run directory; with --benchmark a folder of AlgoPerf's logs")
    score_.benchmark_argument(parser)
    parser.add_argument(
        "--out", metavar="FILE", help="the page, or a folder for report.html; default DIR, for logs NAME here"
    )
    parser.add_argument("--light", action="store_true", help="plain figures even where plotly is installed: 5 MB less")
    parser.add_argument("--tensorboard", type=pathlib.Path, metavar="FOLDER", help="also write curves as event files")


def main(args: argparse.Namespace) -> int:
    """Prints where the page lies."""
    from algoperf_lite.report import page

    out = _page(args.out)
    if args.tensorboard and args.benchmark:
        raise errors.UserError("--tensorboard needs a run directory; AlgoPerf's logs have event files of their own")
    with _writing("--out takes an HTML file, or a folder for report.html"):
        out = page.write(args.dir, out, args.light, args.benchmark)
    size = out.stat().st_size
    hint = f" ({size / 1e6:.0f} MB; --light leaves the interactive figures out)" if size > LARGE and not args.light else ""
    print(f"report: {out}{hint}")
    if args.tensorboard:
        from algoperf_lite.report import tensorboard

        with _writing("--tensorboard takes a folder"):
            count = tensorboard.write(args.dir, args.tensorboard)
        print(f"event files of {count} trials: {args.tensorboard}; see them with `tensorboard --logdir {args.tensorboard}`")
    return 0


def _page(out: str | None) -> pathlib.Path | None:
    """Where the page goes: in a folder that exists, or that ends with a slash, as report.html."""
    if out is None:
        return None
    path = pathlib.Path(out)
    if out.endswith("/") or path.is_dir():
        return path / "report.html"
    if path.suffix not in (".html", ".htm"):
        raise errors.UserError(f"--out {out}: accepted are a file that ends in .html, and a folder ({out}/)")
    return path


@contextlib.contextmanager
def _writing(accepted: str) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        if e.filename is None:  # not the name's fault
            raise errors.EnvironmentFault(f"cannot write: {e.strerror or e}; free or mend the disk and run it again") from e
        raise errors.UserError(f"cannot write {e.filename}: {e.strerror}; {accepted}") from e
