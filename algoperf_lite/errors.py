"""Errors that a user can mend: one message, no traceback, an exit code."""

import difflib
import pathlib
import traceback
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in the request: names, files, configuration. Exit code 2."""

    code = 2


class EnvironmentFault(UserError):
    """The machine is at fault (disk, device, network, missing data). Exit code 3; no outcome is written for a trial."""

    code = 3


def counted(number: int, noun: str) -> str:
    """`1 trial`, `3 trials`; `noun` in the singular of a regular one."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else many}"


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> UserError:
    """The error for a name that is not among the known ones, with the nearest match."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    lines = [f"unknown {kind} {name!r}"]
    if near:
        lines[0] += f"; did you mean {near[0]!r}?"
    lines.append(f"  known: {', '.join(known) or 'none'}")
    if hint:
        lines.append(f"  {hint}")
    return UserError("\n".join(lines))


def where_in(path: pathlib.Path | str, error: BaseException) -> str:
    """`file:line` of the last frame of a traceback that lies in `path`."""
    whole = pathlib.Path(path).resolve()  # a module's frames have its whole path, however it was given
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if pathlib.Path(f.filename).resolve() == whole]
    return f"{path}:{lines[-1]}" if lines else str(path)
