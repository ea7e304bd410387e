"""The table of results: one frozen row per trial, and the board that says which rows there must be.

Time stands in four units: charged reference steps (what boards rank by, PROTOCOL P5), seconds, optimizer steps, and
optimizer steps times the cost factor c (what a board with an unsteady clock falls back to). A miss is infinite in all.
"""

import collections
import dataclasses
import math
from typing import Literal

import numpy as np

Unit = Literal["reference_steps", "seconds", "steps", "steps_x_cost"]
Key = tuple[str, str, int, int]  # submission, workload, study, trial

NOISY_SHARE = 0.10  # a board with a larger share of noisy trials ranks by steps x c (P5)
STOP = 1.25  # the clock's second stop, in budgets of reference steps (P4)


class Unscorable(ValueError):
    """The board gets no score, and the message says why."""


@dataclasses.dataclass(frozen=True)
class Workload:
    """What scoring must know of a workload.

    Attributes:
      budget: reference steps, ruleset factor included.
      interval_steps: optimizer steps between two evaluations.
    """

    name: str
    metric: str
    direction: str  # "min" or "max"
    target: float
    budget: float
    interval_steps: int
    provisional: bool = False


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial of a board. The first four times are those of the first hit; `charged_*` run to the hit or the stop."""

    submission: str
    workload: str
    study: int
    trial: int
    outcome: str
    hit: bool
    reference_steps: float
    seconds: float
    steps: float
    steps_x_cost: float
    charged_reference_steps: float
    charged_seconds: float
    interval_steps: int
    test_missed: bool = False
    noisy: bool = False

    @property
    def key(self) -> Key:
        return (self.submission, self.workload, self.study, self.trial)

    def time(self, unit: Unit) -> float:
        """Time of the first hit; inf for a miss, and for any time that is not a number: such never win."""
        value = getattr(self, unit)
        return value if self.hit and math.isfinite(value) else math.inf


@dataclasses.dataclass(frozen=True)
class Board:
    """One benchmark's results: the field, the workloads, and a row for every trial that was expected."""

    name: str
    workloads: tuple[Workload, ...]
    entrants: tuple[str, ...]
    studies: int
    points: int
    trials: tuple[Trial, ...]
    expected: frozenset[Key]

    def __post_init__(self):
        for kind, names in (("entrant", self.entrants), ("workload", [w.name for w in self.workloads])):
            twice = [name for name, count in collections.Counter(names).items() if count > 1]
            if twice:
                raise ValueError(f"{kind} {twice[0]!r} stands twice on board {self.name!r}; names must be unique")
        twice = [key for key, count in collections.Counter(t.key for t in self.trials).items() if count > 1]
        if twice:
            raise ValueError(f"trial {twice[0]} stands twice in the table of board {self.name!r}")
        for trial in self.trials:
            if trial.key not in self.expected:
                raise ValueError(f"trial {trial.key} is not one of the trials of board {self.name!r}")
            if trial.hit and min(trial.reference_steps, trial.seconds, trial.steps, trial.steps_x_cost) <= 0:
                raise ValueError(f"trial {trial.key} reached its target in a time of zero or less: a broken clock")

    @property
    def missing(self) -> list[Key]:
        """Expected trials without a row."""
        return sorted(self.expected - {trial.key for trial in self.trials})

    @property
    def steps_only(self) -> bool:
        """P5: the clock was too unsteady on too many trials, so the board ranks by optimizer steps x c."""
        return sum(trial.noisy for trial in self.trials) > NOISY_SHARE * len(self.trials)

    @property
    def unit(self) -> Unit:
        """The unit in which this board ranks."""
        return "steps_x_cost" if self.steps_only else "reference_steps"

    @property
    def limits(self) -> np.ndarray:
        """[workloads] reference steps that no hit exceeds: the clock's second stop."""
        return np.array([STOP * workload.budget for workload in self.workloads])

    def require_complete(self) -> None:
        """Raise `Unscorable` with the names of what is missing: an unfinished board gets no score."""
        cells = {(key[0], key[1], key[2]) for key in self.expected}
        holes = [
            f"{name} on {workload.name}: no trial is expected in study {study}"
            for name in self.entrants
            for workload in self.workloads
            for study in range(self.studies)
            if (name, workload.name, study) not in cells
        ]
        missing = self.missing
        if missing:
            count = collections.Counter((key[0], key[1]) for key in missing)
            holes += [f"{name} on {workload}: {n} trials" for (name, workload), n in sorted(count.items())]
        if holes:
            raise Unscorable(
                f"an unfinished board gets no score: {len(missing)} of {len(self.expected)} trials are missing\n  "
                + "\n  ".join(holes)
            )
