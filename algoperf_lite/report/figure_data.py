"""From a board's results to the numbers that its figures draw, the same on the page and on paper."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

import scoring
from algoperf_lite.report.figures import Point
from algoperf_lite.report.svg import Line
from algoperf_lite.results import Results, median_run

BANDS_TOGETHER = 4  # entrants; the bands of more hide one another in one figure


@dataclasses.dataclass(frozen=True)
class Profile:
    """names, the grid of ratios [taus], share of workloads [names, taus], 95 % band [names, taus, 2] or None."""

    names: tuple[str, ...]
    taus: np.ndarray
    rho: np.ndarray
    band: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Dots:
    """One workload: medians [names], intervals [names, 2] (NaN for none), studies [names, studies].

    A miss is inf, a study that does not exist NaN.
    """

    medians: np.ndarray
    intervals: np.ndarray
    times: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        """All that must show on an axis of time over the fastest median: ends of intervals only near to the dots."""
        best = self.medians.min()
        if not math.isfinite(best):
            return np.zeros(0)
        marks = np.append(self.times.ravel(), self.medians)
        marks = marks[np.isfinite(marks)]
        ends = self.intervals[(self.intervals[:, 0] > marks.min() / 2) & (self.intervals[:, 1] < marks.max() * 2)]
        return np.append(marks, ends.ravel()) / best


def profile(results: Results) -> Profile:
    """The board's performance profile by its rules, and what a repeated board would show."""
    board = results.board
    taus = board.rules.taus

    def rho(medians: np.ndarray) -> np.ndarray:
        return scoring.profile(scoring.ratios(scoring.apply_rules(medians, board.rules, board.held_out)), taus)

    def score(medians: np.ndarray) -> np.ndarray:
        return scoring.scores(medians, board.rules, board.held_out)

    times = scoring.study_times(board, board.unit)
    intervals = scoring.score_intervals(times, score, profile=rho)
    band = None if intervals is None else intervals.profile
    return Profile(board.entrants, taus, rho(scoring.medians(times, board.rules)), band)


def dots(summary: Mapping[str, Any], workload: str) -> Dots:
    """One workload's cells as arrays."""
    cells = [summary["cells"][name][workload] for name in summary["entrants"]]

    def number(value: float | None) -> float:
        return math.inf if value is None else value

    most = max(len(cell["study_times"]) for cell in cells)
    return Dots(
        np.array([number(cell["median"]) for cell in cells]),
        np.array([cell["ci95"] or (math.nan, math.nan) for cell in cells], float),
        np.array([[*map(number, cell["study_times"]), *[math.nan] * (most - len(cell["study_times"]))] for cell in cells]),
    )


def lines(results: Results, workload: scoring.Workload) -> tuple[list[tuple[int, Line, str]], list[tuple[int, Line, str]]]:
    """Learning curves (entrant, line, label) of every trial, and per entrant of the trial that stands for the median."""
    faint, bold = [], []
    unit = results.board.rules.unit
    for i, name in enumerate(results.board.entrants):
        mine = sorted(key for key in results.curves if key[:2] == (name, workload.name))
        middle = median_run(results, name, workload)
        for key in mine:
            curve = results.curves[key]
            if len(curve.values):
                row = (i, (curve.times[unit].tolist(), curve.values.tolist()), label(results, key))
                faint.append(row)
                bold += [row] if key == middle else []
    return faint, bold


def points(results: Results, workload: str) -> tuple[list[list[Point]], list[list[Mapping[str, Any]]]]:
    """The finished trials of one workload by entrant, and their hyperparameters."""
    board, unit = results.board, results.board.unit
    winners = {trial.key for trial in scoring.winners(board, unit).values()}
    found: list[list[Point]] = [[] for _ in board.entrants]
    hparams: list[list[Mapping[str, Any]]] = [[] for _ in board.entrants]
    at = {name: i for i, name in enumerate(board.entrants)}
    for trial in board.trials:
        if trial.workload == workload:
            time = trial.time(unit)
            said = f"{time:.4g}" if math.isfinite(time) else trial.outcome.replace("_", " ")
            text = f"{label(results, trial.key)}\n{said}"
            found[at[trial.submission]].append(Point(trial.study, trial.trial, time, trial.key in winners, text))
            hparams[at[trial.submission]].append(results.hparams.get(trial.key, {}))
    return found, hparams


def label(results: Results, key: scoring.Key) -> str:
    """What a reader wants to know of one trial, in lines."""
    name, _, study, trial = key
    values = [f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in results.hparams.get(key, {}).items()]
    return "\n".join([f"{name}, study {study}, trial {trial}", *values])
