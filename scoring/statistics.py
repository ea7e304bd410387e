"""Intervals that know how few studies there are: of a score (P15) and of one cell (P16).

The study is the unit of noise everywhere. Arrays are [..., studies]; inf is a miss.
"""

import dataclasses
import math

import numpy as np

from scoring import time_to_result

ESTIMAND = "expected score of a repeated board with the same field and number of studies"
DRAWS = 2000
SEED = 0  # of the resampling: an interval is a function of the table
PRIOR_DF = 4  # weight of the board's pooled variance in a cell's own (P16)


@dataclasses.dataclass(frozen=True)
class ScoreIntervals:
    """95 % intervals [submissions, 2]; `vs_reference` is None without frozen reference times."""

    score: np.ndarray
    vs_reference: np.ndarray | None


def resampled_medians(times: np.ndarray, draws: int = DRAWS, seed: int = SEED) -> np.ndarray:
    """[..., studies] -> [draws, ...] medians of studies drawn with replacement, each cell on its own.

    Studies of different cells are drawn independently: drawing one set of studies for a whole board gives, of three
    studies, only four different boards (a drawn pair is its own median), and its interval covers 0.75 instead of 0.95.
    A study's winning time is drawn whole; trials inside a study are never resampled (that shifts times by 4-9 %).
    """
    rng = np.random.default_rng(seed)
    ordered = np.sort(times, axis=-1)  # so that the names of the studies do not matter, not even to the last digit
    picks = rng.integers(0, times.shape[-1], size=(draws, *times.shape))
    return time_to_result.medians(np.take_along_axis(ordered[None], picks, axis=-1))


def score_intervals(times: np.ndarray, reference: np.ndarray | None = None) -> ScoreIntervals | None:
    """Percentile bootstrap of the score (P15). `times` [submissions, workloads, studies]; None with one study.

    The estimand is `ESTIMAND`; the interval says nothing of the limiting score of tied entrants.
    """
    if times.shape[-1] < 2:
        return None
    drawn = resampled_medians(times)

    def interval(values: np.ndarray) -> np.ndarray:
        return np.percentile(values, [2.5, 97.5], axis=0).T

    against = None if reference is None else interval(time_to_result.scores_vs_reference(drawn, reference))
    return ScoreIntervals(interval(time_to_result.scores(drawn)), against)


def cell_intervals(times: np.ndarray) -> np.ndarray:
    """[submissions, workloads, studies] -> [submissions, workloads, 2]: 95 % intervals of a typical time (P16).

    On log time, with s2 = (SS_cell + 4 s2_board) / (n - 1 + 4) and t on n + 3 degrees of freedom, s2_board being the
    variance pooled over the board's cells. NaN where a study missed (k of n is all there is to say) or is alone.
    """
    from scipy import special

    n = times.shape[-1]
    out = np.full((*times.shape[:-1], 2), np.nan)
    complete = np.isfinite(times).all(axis=-1)
    if n < 2 or not complete.any():
        return out
    logs = np.log(times[complete])
    squares = ((logs - logs.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    pooled = squares.sum() / (len(logs) * (n - 1))
    variance = (squares + PRIOR_DF * pooled) / (n - 1 + PRIOR_DF)
    half = special.stdtrit(n - 1 + PRIOR_DF, 0.975) * np.sqrt(variance / n)
    centre = logs.mean(axis=-1)
    out[complete] = np.exp(np.stack([centre - half, centre + half], axis=-1))
    return out


def mean_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of `values` [n] and its t interval; the ends are NaN for n = 1."""
    from scipy import special

    n = len(values)
    mean = float(values.mean())
    if n < 2:
        return mean, math.nan, math.nan
    half = float(special.stdtrit(n - 1, (1 + level) / 2) * values.std(ddof=1) / math.sqrt(n))
    return mean, mean - half, mean + half
