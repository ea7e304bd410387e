"""One line of `validate` per check: a function that raises on failure, its docstring's first line being what is shown."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from algoperf_lite import errors

Check = tuple[Callable[..., str | None], str]  # with the mend of what it does not expect

# Where one of these fails, the later ones would only repeat it.
ESSENTIAL = ("_has_points", "_traceable", "_keeps_shapes", "_finite", "has_points", "runs")


@dataclasses.dataclass(frozen=True)
class Result:
    """One line of `validate`."""

    check: str
    ok: bool
    detail: str
    mend: str = ""


class Failure(Exception):
    """A check that failed, with its mend."""

    def __init__(self, detail: str, mend: str):
        super().__init__(detail)
        self.mend = mend


def check(checks: Sequence[Check], *args: Any) -> Iterator[Result]:
    """Runs checks one after the other; an unexpected exception is a failure with its type.

    Where a check in `ESSENTIAL` fails, the rest would only repeat it and is left out.
    """
    stopped = False
    for function, mend in checks:
        name = _title(function)
        if stopped:
            continue
        stopped = getattr(function, "__name__", "") in ESSENTIAL
        try:
            detail = function(*args) or ""
            stopped = False
            yield Result(name, True, detail)
        except Failure as e:
            yield Result(name, False, str(e), e.mend)
        except errors.UserError as e:  # has its own mend
            yield Result(name, False, str(e))
        except jax.errors.UnexpectedTracerError:
            kept = "an array of one trace was kept in Python and used in another"
            yield Result(name, False, kept, "keep all memory in the optimizer state, none in globals or closures")
        except Exception as e:
            text = str(e).strip().splitlines() or [""]
            yield Result(name, False, f"{type(e).__name__}: {text[0]}", mend)


def _title(function: Callable[..., str | None]) -> str:
    if isinstance(function, functools.partial):
        return f"held-out variant {function.args[0]} builds"
    return (function.__doc__ or function.__name__).splitlines()[0].rstrip(".")
