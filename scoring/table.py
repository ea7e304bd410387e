"""The table of results: one frozen row per trial, and the board that says which rows there must be.

Time stands in four units: charged reference steps (what our boards rank by, PROTOCOL P5), seconds (what AlgoPerf's do),
optimizer steps, and optimizer steps times the cost factor c (what a board with an unsteady clock falls back to). A miss
is infinite in all, and a unit that was not measured is infinite too.
"""

import collections
import dataclasses
import functools
import math
from collections.abc import Mapping

import numpy as np

from scoring.rules import OURS, Rules, Unit

Key = tuple[str, str, int, int]  # submission, workload, study, trial

NOISY_SHARE = 0.10  # a board with a larger share of noisy trials ranks by steps x c (P5)


class Unscorable(ValueError):
    """The board gets no score, and the message says why."""


@dataclasses.dataclass(frozen=True)
class Workload:
    """What scoring must know of a workload.

    Attributes:
      budget: in the unit that the board ranks by, ruleset factor included.
      interval: between two evaluations, in optimizer steps; in seconds on AlgoPerf's boards.
      reference: frozen time of the reference in the unit of the rank (P15); 0 where there is none.
      metric_sd: of the metric over seeds (P12); 0 where unknown.
      held_out_of: name of the base workload of which this is a held-out variant.
    """

    name: str
    metric: str
    direction: str  # "min" or "max"
    target: float
    budget: float
    interval: float
    provisional: bool = False
    reference: float = 0.0
    metric_sd: float = 0.0
    held_out_of: str | None = None


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial of a board. The first four times are those of the first hit; `charged_*` run to the hit or the stop.

    `evaluation` is the index of the evaluation that hit, counted from 0; -1 for a miss.
    """

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
    charged_steps: float
    charged_steps_x_cost: float
    evaluation: int
    test_missed: bool = False
    noisy: bool = False

    @property
    def key(self) -> Key:
        return (self.submission, self.workload, self.study, self.trial)

    def time(self, unit: Unit) -> float:
        """Time of the first hit; inf for a miss, and for any time that is not a number: such never win."""
        value = getattr(self, unit)
        return value if self.hit and math.isfinite(value) else math.inf

    def charged(self, unit: Unit) -> float:
        """What the trial cost, to its hit or its stop."""
        return getattr(self, f"charged_{unit}")


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """The evaluations of one trial, in order: the validation metric [evaluations], NaN where it was not a number, and
    the time of each by unit [evaluations]."""

    values: np.ndarray
    times: Mapping[Unit, np.ndarray]

    def best(self, direction: str) -> float:
        """The best value; NaN where none is finite."""
        finite = self.values[np.isfinite(self.values)]
        return float(min(finite) if direction == "min" else max(finite)) if finite.size else math.nan

    def first_hit(self, target: float, direction: str) -> int:
        """Index of the first evaluation that meets the target, equality included; -1 where none does. A value that is
        not finite never does."""
        met = np.isfinite(self.values) & (self.values <= target if direction == "min" else self.values >= target)
        return int(met.argmax()) if met.any() else -1


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
    rules: Rules = OURS

    def __post_init__(self):
        for kind, names in (("entrant", self.entrants), ("workload", [w.name for w in self.workloads])):
            twice = [name for name, count in collections.Counter(names).items() if count > 1]
            if twice:
                raise ValueError(f"{kind} {twice[0]!r} stands twice on board {self.name!r}; names must be unique")
        base = {w.name for w in self.base}
        for workload in self.workloads:
            if workload.held_out_of is not None and workload.held_out_of not in base:
                raise ValueError(f"{workload.name!r} is held out of {workload.held_out_of!r}, which is not on the board")
        twice = [key for key, count in collections.Counter(t.key for t in self.trials).items() if count > 1]
        if twice:
            raise ValueError(f"trial {twice[0]} stands twice in the table of board {self.name!r}")
        for trial in self.trials:
            if trial.key not in self.expected:
                raise ValueError(f"trial {trial.key} is not one of the trials of board {self.name!r}")
            if trial.hit and min(trial.reference_steps, trial.seconds, trial.steps, trial.steps_x_cost) <= 0:
                raise ValueError(f"trial {trial.key} reached its target in a time of zero or less: a broken clock")

    @property
    def base(self) -> tuple[Workload, ...]:
        """The workloads that make the score; held-out variants only take away from it."""
        return tuple(w for w in self.workloads if w.held_out_of is None)

    @property
    def held_out(self) -> tuple[tuple[int, int], ...]:
        """(column of the variant, column of its base) in the order of `workloads`."""
        column = {w.name: i for i, w in enumerate(self.workloads)}
        return tuple((i, column[w.held_out_of]) for i, w in enumerate(self.workloads) if w.held_out_of is not None)

    @property
    def missing(self) -> list[Key]:
        """Expected trials without a row."""
        return sorted(self.expected - {trial.key for trial in self.trials})

    @functools.cached_property
    def steps_only(self) -> bool:
        """P5: the clock was too unsteady on too many trials, so the board ranks by optimizer steps x c."""
        return sum(trial.noisy for trial in self.trials) > NOISY_SHARE * len(self.trials)

    @property
    def unit(self) -> Unit:
        """The unit in which this board ranks."""
        return "steps_x_cost" if self.rules.unit == "reference_steps" and self.steps_only else self.rules.unit

    @property
    def limits(self) -> np.ndarray:
        """[workloads] time at which a miss is counted. No hit of ours exceeds it; AlgoPerf tests its budget only at
        evaluations."""
        return np.array([self.rules.stop * workload.budget for workload in self.workloads])

    def require_complete(self) -> None:
        """Raise `Unscorable` with the names of what is missing: an unfinished board gets no score."""
        cells = {(key[0], key[1], key[2]) for key in self.expected}
        holes = [
            f"{name} on {workload.name}: no trial is expected in study {study}"
            for name in self.entrants
            for workload in self.workloads
            for study in range(self.studies)
            if self.rules.absent == "miss" and (name, workload.name, study) not in cells
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
