"""Checkpoints of a trial by orbax, behind two functions; off the clock, and imported only when one is written or read.

A checkpoint is a folder of arrays and, written after it, a small file with the numbers of the loop: where that file
stands, the folder is whole.
"""

import json
import os
import pathlib
import shutil
from typing import Any

import jax

from algoperf_lite import errors


def save(folder: pathlib.Path, step: int, arrays: Any, numbers: dict[str, Any], *, writer: bool = True) -> None:
    """Saves a pytree of arrays and a JSON-able dict; earlier checkpoints go once this one is whole.

    Raises:
      EnvironmentFault: the disk refuses.
    """
    import orbax.checkpoint as ocp

    path = folder.resolve() / str(step)
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(path, arrays, force=True)
        if writer:
            temporary = folder / f".{step}.json"
            with open(temporary, "w") as handle:
                json.dump(numbers, handle)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, folder / f"{step}.json")
            for other in _steps(folder):
                if other != step:
                    (folder / f"{other}.json").unlink()
                    shutil.rmtree(folder / str(other), ignore_errors=True)
    except Exception as e:  # tensorstore tells of a full disk by ValueError: RESOURCE_EXHAUSTED
        reason = getattr(e, "strerror", None) or f"{type(e).__name__}: {e}"
        raise errors.EnvironmentFault(
            f"cannot write a checkpoint under {folder}: {reason}; free or mend the disk and run the same command again"
        ) from e


def restore(folder: pathlib.Path, abstract: Any) -> tuple[Any, dict[str, Any]] | None:
    """The newest whole checkpoint as (arrays, numbers), or None.

    Args:
      abstract: pytree of `jax.ShapeDtypeStruct` with shardings: it may be restored onto another mesh than it was saved
        from.

    Raises:
      EnvironmentFault: the checkpoint cannot be read.
    """
    steps = _steps(folder)
    if not steps:
        return None
    import orbax.checkpoint as ocp

    step = max(steps)
    try:
        numbers = json.loads((folder / f"{step}.json").read_text())
        with ocp.StandardCheckpointer() as checkpointer:
            arrays = jax.block_until_ready(checkpointer.restore(folder.resolve() / str(step), abstract))
    except Exception as e:
        raise errors.EnvironmentFault(
            f"checkpoint {folder / str(step)} cannot be read: {type(e).__name__}: {e}; "
            f"remove {folder} and run the same command again: the trial starts over"
        ) from e
    return arrays, numbers


def _steps(folder: pathlib.Path) -> list[int]:
    return [int(p.stem) for p in folder.glob("[0-9]*.json")]
