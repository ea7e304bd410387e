"""The command line: one module per command, nothing heavy imported until a command runs.

Every command module has `HELP`, `EXAMPLES`, `arguments(parser)` and `main(args) -> exit code`. Exit codes: 0 fine, 1 some
trials failed, 2 usage or configuration, 3 environment, 130 interrupted and resumable.
"""

import argparse
import difflib
import importlib
import logging as standard_logging
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from algoperf_lite import __version__, errors

COMMANDS = ("list", "describe", "validate", "run", "status", "score", "report", "compare", "targets", "data", "doctor")


def entry_point() -> NoReturn:
    """The console script."""
    from absl import app, logging

    logging.set_verbosity(logging.WARNING)
    logging.get_absl_handler().setFormatter(standard_logging.Formatter("%(levelname)s: %(message)s"))
    app.run(main, flags_parser=lambda argv: parser().parse_args(argv[1:]))
    raise AssertionError("app.run exits")


def main(args: argparse.Namespace) -> int:
    """Runs one parsed command; the user's mistakes become one message and an exit code, never a traceback."""
    try:
        return _module(args.command).main(args)
    except errors.UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return e.code
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        return 0


def parser() -> argparse.ArgumentParser:
    """The whole grammar."""
    from absl.flags import argparse_flags

    class Parser(argparse_flags.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            """argparse's message, with the nearest match for a mistyped command or flag."""
            match = re.search(r"invalid choice: '([^']*)'|unrecognized arguments: (-\S+)", message)
            typed = (match.group(1) or match.group(2)) if match else ""
            known = [*COMMANDS, *(o for a in self._actions for o in a.option_strings)]
            near = difflib.get_close_matches(typed, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            self.exit(2, f"error: {message}{hint}\n  see `{self.prog} --help`\n")

    class Command(Parser):
        def parse_known_args(self, args=None, namespace=None):
            """What a command does not know is its own error, with its own flags as the nearest match."""
            found, unknown = super().parse_known_args(args, namespace)
            if unknown:
                self.error(f"unrecognized arguments: {' '.join(unknown)}")
            return found, unknown

    root = Parser(
        prog="algoperf-lite",
        description="Compare training algorithms honestly: fixed workloads, time to a target, tuning inside the score.",
        epilog="Start with: algoperf-lite run demo",
        allow_abbrev=False,
    )
    root.add_argument("--version", action="version", version=f"algoperf-lite {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Command)
    for name in COMMANDS:
        module = _module(name)
        sub = commands.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            epilog="examples:\n" + "\n".join(f"  algoperf-lite {e}" for e in module.EXAMPLES),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.arguments(sub)
    return root


def _module(name: str):
    return importlib.import_module(f"algoperf_lite.cli.{name}_")


def comma_list(text: str) -> Sequence[str]:
    """`a,b` -> `["a", "b"]`."""
    return [part.strip() for part in text.split(",") if part.strip()]
