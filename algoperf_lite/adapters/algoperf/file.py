"""A submission file as far as it can be told without running it, and what its failures mean in one line."""

import ast
import collections
import dataclasses
import pathlib
import traceback
from collections.abc import Mapping
from typing import Any

from algoperf_lite import errors
from algoperf_lite.adapters.algoperf import locate, space


@dataclasses.dataclass(frozen=True)
class File:
    """Static facts of a submission file.

    Attributes:
      path: of the file.
      own: the file and all of its own that it imports.
      sha256: of those and of the search space.
      doc: the file's docstring.
      pmap: whether it follows the convention of v0.5.
      space: its search space, or None for a file that tunes itself.
      space_file: where that was found.
    """

    path: pathlib.Path
    own: tuple[pathlib.Path, ...]
    sha256: str
    doc: str
    pmap: bool
    space: space.Space | None
    space_file: pathlib.Path | None = None


def read(path: pathlib.Path, space_file: pathlib.Path | None = None) -> File:
    """The facts of a file.

    Args:
      space_file: its search space, looked for from here and from the file's folder; default `tuning_search_space.json`
        beside the file, or above a folder `jax` or `..._jax` that the file lies in, and none where that does not exist.

    Raises:
      UserError: not a JAX submission, not valid Python, a search space that is none.
    """
    if not path.is_file():
        raise errors.UserError(f"submission file not found: {path}")
    trees = locate.sources(path)
    if not locate.is_submission(path):
        raise errors.UserError(f"submission {path} is none of AlgoPerf's: it lacks {' or '.join(locate.FUNCTIONS[:2])}")
    if locate.uses_torch(trees[path]):
        raise errors.UserError(f"submission {path} is written in PyTorch; only AlgoPerf's JAX submissions run here")
    if space_file is None:
        folder = path.absolute().parent
        above = [folder.parent] if folder.name == "jax" or folder.name.endswith("_jax") else []
        space_file = next((p for at in (folder, *above) if (p := at / space.FILE).is_file()), None)
    elif not space_file.is_absolute() and not space_file.is_file():
        space_file = path.parent / space_file
    own = tuple(sorted(trees))
    return File(
        path=path,
        own=own,
        sha256=locate.sha256([*own, *([space_file] if space_file else [])]),
        doc=(ast.get_docstring(trees[path]) or "").strip(),
        pmap=locate.uses_pmap(trees),
        space=space.read(space_file) if space_file else None,
        space_file=space_file,
    )


def hyperparameters(point: Mapping[str, Any] | None) -> Any:
    """A point as files take it: a named tuple of Python values, or None."""
    if point is None or isinstance(point, tuple):
        return point
    return collections.namedtuple("Hyperparameters", list(point))(**point)


class blame:
    """A context manager that turns what a file raises into one line, with the place in the file and the reason if known."""

    def __init__(self, file: File, what: str):
        self.file, self.what = file, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if not isinstance(error, (Exception, SystemExit)) or isinstance(error, errors.UserError | MemoryError):
            return False
        if "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error):
            return False
        own = {str(path.absolute()) for path in self.file.own}
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in own]
        where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(self.file.path)
        message = (str(error).strip().splitlines() or [""])[0]
        if isinstance(error, SyntaxError):
            where, message = f"{error.filename or where}:{error.lineno}", f"not valid Python: {error.msg}"
        hint = self._hint(error, frames[-1].line if frames else "")
        raise errors.UserError(
            f"submission {where}: {self.what} failed: {type(error).__name__}: {message}{hint}"
        ) from error

    def _hint(self, error: BaseException, line: str | None) -> str:
        text = str(error)
        if isinstance(error, ModuleNotFoundError):
            return f"; the file needs the package {(error.name or '').split('.')[0]!r}: install it, or leave the file out"
        if self.file.pmap and isinstance(error, IndexError | ValueError):
            for name, arguments, axes in locate.mismatched_pmaps(locate.sources(self.file.path)):
                return f"; {name} has {arguments} arguments and in_axes for {axes}: a fault of the file, which runs nowhere"
        asked = isinstance(error, AttributeError) and "hyperparameters." in (line or "")
        if asked and "'NoneType'" in text and self.file.space is None:
            return (
                f"; hyperparameters are None without a search space: put {space.FILE} beside the file, "
                f"or name one after a colon, {self.file.path.name}:PATH.json"
            )
        if asked and self.file.space is not None:
            return f"; the search space has {', '.join(space.names(self.file.space))}"
        return ""
