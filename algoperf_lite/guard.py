"""Nothing smuggled (PROTOCOL P3): what a submission may not do while it is loaded and traced.

Checked here: constants over 64 KiB in the traced programs, host callbacks and effects, and threads, processes and open
files left behind by loading and tracing. Everything else is the reviewer's (docs/clock_and_protocol.md).
"""

import contextlib
import os
import pathlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from algoperf_lite import errors

MAX_CONSTANT_BYTES = 64 * 1024


def check_program(jaxpr: Any, what: str) -> None:
    """Refuses a traced program (a `ClosedJaxpr`) with over 64 KiB of constants in all, host callbacks or effects.

    Raises:
      UserError: naming the constant's shape and size, or the primitive.
    """
    if jaxpr.effects:
        kinds = ", ".join(sorted(str(e) for e in jaxpr.effects))
        raise errors.UserError(
            f"{what}: the traced program has effects ({kinds}); callbacks, prints and other host effects are refused (P3)"
        )
    total: dict[int, int] = {}
    for constant, equation in _walk(jaxpr):
        if equation is not None and "callback" in equation.primitive.name:
            raise errors.UserError(
                f"{what}: the traced program calls back to the host ({equation.primitive.name}); refused (P3)"
            )
        total[id(constant)] = getattr(constant, "nbytes", 0)
        if sum(total.values()) > MAX_CONSTANT_BYTES:
            raise errors.UserError(
                f"{what}: the traced program holds {sum(total.values())} bytes of constants, the last of shape "
                f"{tuple(constant.shape)}; at most {MAX_CONSTANT_BYTES} in all are accepted (P3). "
                "Compute them inside init or update instead"
            )


def _walk(jaxpr: Any) -> Iterator[tuple[Any, Any]]:
    """Yields (constant, None) and (literal value, equation) of a jaxpr and of all its sub-jaxprs."""
    import jax.extend.core

    for constant in getattr(jaxpr, "consts", ()):
        yield constant, None
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield None, equation
        for variable in equation.invars:
            if isinstance(variable, jax.extend.core.Literal):
                yield variable.val, equation
        for parameter in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(parameter):
                yield from _walk(parameter)


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns") or hasattr(getattr(value, "jaxpr", None), "eqns")


@contextlib.contextmanager
def nothing_left_behind(what: str) -> Iterator[None]:
    """Compares threads, child processes and open regular files before and after the block.

    Raises:
      UserError: naming what was left behind.
    """
    before = _snapshot()
    yield
    after = _snapshot()
    for kind in before:
        left = sorted(after[kind] - before[kind])
        if left:
            raise errors.UserError(f"{what} left {kind} behind: {', '.join(left)}; refused (P3)")


def _snapshot() -> dict[str, set[str]]:
    return {"threads": _threads(), "processes": _children(), "open files": _open_files()}


def _threads() -> set[str]:
    return {f"{t.name} ({t.ident})" for t in threading.enumerate()}


def _children() -> set[str]:
    found = set()
    for task in pathlib.Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found |= set(task.read_text().split())
    return found


def _open_files() -> set[str]:
    """Regular files open for this process, but for Python's own (its prefix) and the compile cache."""
    import jax

    own = [str(pathlib.Path(p).resolve()) for p in (sys.prefix, sys.base_prefix)]
    cache = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]: defined at run time
    if cache:
        own.append(str(pathlib.Path(cache).resolve()))
    found = set()
    for link in pathlib.Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):
            target = os.readlink(link)
            if os.path.isfile(target) and not any(target.startswith(p) for p in own):
                found.add(target)
    return found
