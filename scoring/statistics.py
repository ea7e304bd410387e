"""Intervals that know how few studies there are: of scores, ranks and profiles (P15), and of one cell (P16).

The study is the unit of noise everywhere. Times are [..., studies]; inf is a miss, NaN a study that does not exist (an
official log without files): it is left out of medians and never drawn. docs/statistics.md has the reasons and what
every interval covers, by simulation.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from scoring import time_to_result
from scoring.rules import Rules

ESTIMAND = "expected score of a repeated board with the same field and number of studies"
RANK_ESTIMAND = "median rank on a repeated board with the same field and number of studies"
FEWEST = 3  # studies in a cell that has any: two leave intervals of scores far too short
DRAWS = 2000
SEED = 0  # of the resampling: an interval is a function of the table
PRIOR_DF = 4  # weight of the board's pooled variance in a cell's own (P16)
DROPPED = Rules(absent="dropped")

Statistic = Callable[[np.ndarray], np.ndarray]
"""Medians [..., submissions, workloads] -> [..., submissions], or [..., submissions, taus]."""


@dataclasses.dataclass(frozen=True)
class ScoreIntervals:
    """95 % intervals, low and high in the last dimension, all from the same draws.

    Attributes:
      score: [submissions, 2], of `ESTIMAND`.
      rank: [submissions, 2] whole numbers, of `RANK_ESTIMAND`; 1 is best, and equal scores share the better rank.
      vs_reference: [submissions, 2], as `score`, of the score against frozen times; None if not asked for.
      profile: [submissions, taus, 2] pointwise band of the expected profile of a repeated board; None if not asked for.
    """

    score: np.ndarray
    rank: np.ndarray
    vs_reference: np.ndarray | None
    profile: np.ndarray | None


def score_intervals(
    times: np.ndarray,
    score: Statistic = time_to_result.scores,
    *,
    against: Statistic | None = None,
    profile: Statistic | None = None,
    draws: int = DRAWS,
) -> ScoreIntervals | None:
    """Percentile bootstrap of a board (P15); None where a cell has one study or two, fewer than `FEWEST`.

    The percentiles are moved so that the draws' median is the observed value. The estimand is the expectation of what
    was observed, so the observed value is right on average; the draws are not: they add noise to times that hold
    noise already, which lets every submission of a close field lose more to the field's best.

    Args:
      times: [submissions, workloads, studies] study times.
      score: the board's score, with its rules and held-out columns.
      against: the score against frozen reference times (`score_vs_reference`), from the same medians.
      profile: the board's performance profile, for its band.
      draws: of the bootstrap.
    """
    present = (~np.isnan(times)).sum(axis=-1)
    if ((present > 0) & (present < FEWEST)).any():  # everybody's score hangs on that cell, by the field's best
        return None
    observed = time_to_result.medians(times, DROPPED)
    drawn = resampled_medians(times, draws)

    def centred(statistic: Statistic) -> tuple[np.ndarray, np.ndarray]:
        seen, values = statistic(observed), statistic(drawn)
        return seen, values + (seen - np.median(values, axis=0))

    def interval(values: np.ndarray) -> np.ndarray:
        return np.moveaxis(np.clip(np.percentile(values, [2.5, 97.5], axis=0), 0, 1), 0, -1)

    seen, values = centred(score)
    return ScoreIntervals(
        score=interval(values),
        rank=_rank_interval(seen, values),
        vs_reference=None if against is None else interval(centred(against)[1]),
        profile=None if profile is None else interval(centred(profile)[1]),
    )


def _rank_interval(seen: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Scores [submissions] and their draws [draws, submissions] -> [submissions, 2]; contains the observed rank."""

    drawn, observed = time_to_result.ranks(values), time_to_result.ranks(seen)
    low = np.percentile(drawn, 2.5, axis=0, method="lower")
    high = np.percentile(drawn, 97.5, axis=0, method="higher")
    return np.stack([np.minimum(low, observed), np.maximum(high, observed)], axis=-1)


def resampled_medians(times: np.ndarray, draws: int = DRAWS, seed: int = SEED) -> np.ndarray:
    """[submissions, workloads, studies] -> [draws, submissions, workloads] medians of studies drawn with replacement.

    In every cell as many studies are drawn as it has, from its own, by their place in the order of time. A study of a
    submission has its luck partly in common to all workloads (shared search points): with probability sqrt(rho) a cell
    takes the places drawn for the submission instead of its own, so that two cells' medians have rank correlation rho,
    which is estimated from the board, once per draw. A study's winning time is drawn whole; trials inside a study
    are never resampled (that shifts times by 4-9 %).
    """
    submissions, workloads, studies = times.shape
    rng = np.random.default_rng(seed)
    shared = rng.random((draws, submissions, workloads)) < np.sqrt(study_correlation(times, draws, rng))[:, None, None]
    common = rng.random((draws, submissions, 1, studies))
    places = np.where(shared[..., None], common, rng.random((draws, *times.shape)))
    ordered = np.sort(times, axis=-1)  # NaN last
    count = np.count_nonzero(~np.isnan(times), axis=-1)[..., None]
    picks = np.where(np.arange(studies) < count, (places * count).astype(np.int16), studies)  # those of no study come last
    picks.sort(axis=-1)
    middle = [
        np.take_along_axis(picks, np.broadcast_to(k, (draws, *k.shape)), axis=-1).clip(max=studies - 1)
        for k in ((count - 1).clip(0) // 2, count // 2)
    ]
    low, high = (np.take_along_axis(ordered[None], pick, axis=-1)[..., 0] for pick in middle)
    return (low + high) / 2


def study_correlation(times: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """[draws] correlation of log times of two workloads within a submission's study, as uncertain as the board leaves it.

    One-way analysis of variance of the deviations from the cells' means, pooled over submissions. Two entrants with 3
    studies have 4 degrees of freedom between studies, so every draw divides the ratio of mean squares by one of its
    F distribution (fiducial, Burdick & Graybill 1992). Negative correlations count as 0. Misses say nothing here.
    """
    hit = np.isfinite(times)
    hit &= hit.sum(axis=-1, keepdims=True) > 1  # a lone hit has no deviation
    logs = np.log(times, out=np.zeros(times.shape), where=hit)
    hits = hit.sum(axis=-1, keepdims=True)
    deviations = np.where(hit, logs - logs.sum(axis=-1, keepdims=True) / hits.clip(1), 0)
    cells = hit.sum(axis=1)  # [submissions, studies]
    between_df = int(((cells > 0).sum(axis=-1) - 1).clip(0).sum())
    within_df = int((hits - 1).clip(0).sum()) - between_df
    if within_df < 1 or between_df < 1:
        return np.zeros(draws)
    between = (deviations.sum(axis=1) ** 2 / cells.clip(1)).sum()
    within = np.maximum((deviations**2).sum() - between, 0) / within_df * rng.f(between_df, within_df, draws)
    between /= between_df
    size = (within_df + between_df) / between_df  # workloads per study
    total = between + (size - 1) * within
    return np.divide(between - within, total, out=np.zeros(draws), where=total > 0).clip(0, 1)


def cell_intervals(times: np.ndarray) -> np.ndarray:
    """[submissions, workloads, studies] -> [submissions, workloads, 2]: 95 % intervals of a typical time (P16).

    Typical: the median time of a study. On log time, with s2 = (SS_cell + 4 s2_board) / (n - 1 + 4) and t on n + 3
    degrees of freedom, where n counts the cell's own studies and s2_board is pooled over the board's cells that never
    missed. NaN where a study missed (k of n is all there is to say) or is alone.
    """
    from scipy import special

    present = ~np.isnan(times)
    n = present.sum(axis=-1)
    whole = (n > 1) & ~np.isinf(times).any(axis=-1)
    out = np.full((*times.shape[:-1], 2), np.nan)
    if not whole.any():
        return out
    n, present = n[whole], present[whole]
    logs = np.log(times[whole], out=np.zeros(present.shape), where=present)
    centre = logs.sum(axis=-1) / n
    squares = np.where(present, (logs - centre[:, None]) ** 2, 0).sum(axis=-1)
    pooled = squares.sum() / (n - 1).sum()
    variance = (squares + PRIOR_DF * pooled) / (n - 1 + PRIOR_DF)
    half = special.stdtrit(n - 1 + PRIOR_DF, 0.975) * np.sqrt(variance / n)
    out[whole] = np.exp(np.stack([centre - half, centre + half], axis=-1))
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
