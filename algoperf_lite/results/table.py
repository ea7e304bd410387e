"""What scoring and report know of a board, wherever its trials were read from."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

import scoring
from algoperf_lite import records


@dataclasses.dataclass(frozen=True)
class About:
    """The board in words.

    Attributes:
      kind: `run`, a directory of ours, or `algoperf`, a folder of AlgoPerf's logs.
      reference: submission that speed-ups are against; None without one.
      files: submission -> hash of its file; equal hashes are A/A twins. Empty for AlgoPerf's logs.
      untuned: submissions that have no search space on a board that tunes.
      added: submission -> date, if it came after the first trial.
      notes: (kind, text) that the reader of the files has to say.
    """

    kind: Literal["run", "algoperf"]
    name: str
    version: int
    ruleset: Literal["external", "self"]
    reference: str | None = None
    smoke: bool = False
    development: bool = False
    extended: bool = False
    paired: bool = False
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    untuned: frozenset[str] = frozenset()
    added: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def twins(self) -> list[tuple[str, str]]:
        """(first, twin): entrants of one file, hence of the same points. The A/A controls."""
        first: dict[str, str] = {}
        pairs = [(first.setdefault(sha, name), name) for name, sha in self.files.items()]
        return [(one, other) for one, other in pairs if one != other]


@dataclasses.dataclass(frozen=True)
class Run:
    """One expected trial as it stands in a run directory; `outcome` is None while it is not done."""

    spec: records.TrialSpec
    manifest: dict[str, Any]
    events: tuple[records.Event, ...]
    outcome: records.Outcome | None


@dataclasses.dataclass(frozen=True)
class Results:
    """A board in memory.

    Attributes:
      path: the folder that was read.
      curves: of every trial that was evaluated, finished or not.
      hparams: of every trial that was begun.
      benchmark, runs: the records of a run directory; None and empty for AlgoPerf's logs.
    """

    path: pathlib.Path
    about: About
    board: scoring.Board
    curves: Mapping[scoring.Key, scoring.Curve]
    hparams: Mapping[scoring.Key, Mapping[str, Any]]
    benchmark: records.Benchmark | None = None
    runs: Mapping[scoring.Key, Run] = dataclasses.field(default_factory=dict)

    @property
    def hosts(self) -> list[str]:
        """Fingerprints of the machines that the outcomes come from; AlgoPerf's logs have none."""
        return sorted({run.outcome.host for run in self.runs.values() if run.outcome})


def median_run(results: Results, submission: str, workload: scoring.Workload) -> scoring.Key | None:
    """Of each study's best trial (fastest hit, else best metric) the middle one, misses last: a run that took place,
    where an average of curves that stop at different times would be nobody's."""
    board, sign = results.board, -1.0 if workload.direction == "max" else 1.0
    unit = board.unit
    rows = {trial.key: trial for trial in board.trials}

    def rank(key: scoring.Key) -> tuple[float, float]:
        time = rows[key].time(unit) if key in rows else np.inf
        best = results.curves[key].best(workload.direction)
        return time, 0.0 if np.isfinite(time) else np.inf if np.isnan(best) else sign * best

    keys = sorted((key for key in results.curves if key[:2] == (submission, workload.name)), key=rank, reverse=True)
    winners = {key[2]: key for key in keys if len(results.curves[key].values)}
    ordered = sorted(winners.values(), key=rank)
    return ordered[(len(ordered) - 1) // 2] if ordered else None
