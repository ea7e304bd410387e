"""The A/A control: one submission entered twice must do the same, and be charged the same (PROTOCOL P18)."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from scoring import statistics
from scoring.table import Board

LIMIT = math.log(1.05)
Metrics = tuple[float | None, ...]
History = Mapping[tuple[str, int, int], Sequence[tuple[int, Metrics]]]  # (workload, study, trial) -> (step, metrics)


@dataclasses.dataclass(frozen=True)
class Control:
    """Passed if every metric at every common step is bit-equal and the charged times agree within 5 %."""

    a: str
    b: str
    compared: int  # evaluations
    unequal: tuple[tuple[str, int, int, int], ...]  # workload, study, trial, step; the first of each trial
    ratio: float  # charged reference steps of A over B, geometric mean
    interval: tuple[float, float]  # 95 %, over studies
    passed: bool


def control(board: Board, a: str, b: str, history_a: History, history_b: History) -> Control:
    """The control of the pair (a, b), whose evaluations stand in the two histories."""
    unequal, compared = [], 0
    for where in sorted(history_a.keys() & history_b.keys()):
        ours, theirs = dict(history_a[where]), dict(history_b[where])
        common = sorted(ours.keys() & theirs.keys())
        compared += len(common)
        unequal += [(*where, step) for step in common if ours[step] != theirs[step]][:1]
    charged = {trial.key: trial.charged_reference_steps for trial in board.trials}
    per_study = []
    for study in range(board.studies):
        logs = [
            math.log(value / charged[b, *key[1:]])
            for key, value in charged.items()
            if key[0] == a and key[2] == study and value > 0 and charged.get((b, *key[1:]), 0) > 0
        ]
        if logs:
            per_study.append(sum(logs) / len(logs))
    if not per_study:
        return Control(a, b, compared, tuple(unequal), math.nan, (math.nan, math.nan), False)
    mean, low, high = statistics.mean_interval(np.array(per_study))
    passed = compared > 0 and not unequal and abs(mean) <= LIMIT
    return Control(a, b, compared, tuple(unequal), math.exp(mean), (math.exp(low), math.exp(high)), passed)
