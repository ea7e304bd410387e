"""A submission file as an entrant of a board: what `submission.Submission` is for a native one."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, ClassVar

from algoperf_lite import errors, search
from algoperf_lite.adapters.algoperf import file as files
from algoperf_lite.adapters.algoperf import space
from algoperf_lite.submission import Submission


@dataclasses.dataclass(frozen=True)
class Entry(Submission):
    """A file of AlgoPerf's. Its points are Python values; the empty point stands for no hyperparameters at all.

    SPACE is the search space as its JSON has it, DEFAULTS the empty point for a file without one.
    """

    file: files.File

    driver: ClassVar[str] = "dispatch"

    def points(self, ruleset: str, board_seed: int, studies: int) -> list[list[dict[str, Any]]]:
        """Points by study and trial: those of a list in its order, the same in every study; of ranges AlgoPerf's Halton
        points, which are also the same in every study, in an order that (board seed, study) gives.

        Raises:
          UserError: a file with a search space under the self-tuning ruleset.
        """
        if self.file.space is None:
            return [[{}] for _ in range(studies)]
        if ruleset == "self":
            raise errors.UserError(
                f"submission {self.name} ({self.source}) has a search space ({self.file.space_file}), and the self-tuning "
                "ruleset gives no hyperparameters; enter it on a board of the external ruleset, such as demo-external"
            )
        seeds = [search.hash_int("algoperf points", board_seed, study) for study in range(studies)]
        return [space.points(self.file.space, search.EXTERNAL_POINTS, seed) for seed in seeds]

    def resolve(self, hparams: Mapping[str, Any]) -> dict[str, Any]:
        """The point itself: nothing is filled in.

        Raises:
          UserError: names that are not those of the search space.
        """
        names = space.names(self.file.space)
        for name in hparams:
            if name not in names:
                raise errors.unknown(f"hyperparameter of submission {self.name}", name, names)
        missing = [name for name in names if name not in hparams]
        if missing and hparams:
            raise errors.UserError(f"submission {self.name}: the point lacks {missing[0]!r}")
        return dict(hparams)

    def static(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """What is no float, and may change what a step costs."""
        return {name: value for name, value in point.items() if not isinstance(value, float)}

    def about(self) -> dict[str, Any]:
        """What `describe` shows."""
        return {
            "submission": self.name,
            "about": self.doc,
            "kind": f"AlgoPerf submission file, {convention(self.file)}",
            "files": [str(path) for path in self.file.own],
            "sha256": self.sha256,
            "search space": self.SPACE or "none: the file tunes itself",
        }


def convention(file: files.File) -> str:
    """In words."""
    return "v0.5 convention (pmap)" if file.pmap else "0.6 convention (jit)"


def load(source: str, path: pathlib.Path, space_file: pathlib.Path | None, name: str) -> Entry:
    """The entrant of a file; nothing of it is run.

    Raises:
      UserError: not a JAX submission, not valid Python, a search space that is none.
    """
    found = files.read(path, space_file)

    def build(problem, hparams):
        raise errors.UserError(f"submission {source} is an AlgoPerf file: it has no build, and runs by its own functions")

    return Entry(
        name=name,
        source=source,
        sha256=found.sha256,
        doc=found.doc,
        SPACE=found.space,  # type: ignore[arg-type]
        DEFAULTS=None if found.space is not None else {},
        eval_params=None,
        EXTRA_ARGS=(),
        PERIOD=1,
        author_build=build,
        file=found,
    )
