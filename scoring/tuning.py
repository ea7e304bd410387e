"""Tuning luck (PROTOCOL P19): what fewer trials per study would have given. A figure of its own, never an interval.

Exact, by order statistics without replacement: the expectation over all subsets of k of a study's K trials, averaged over
studies. A subset without a hit has no time, so times are given for the subsets that hit, beside how often that is.
"""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Luck:
    """Of one cell. Arrays are [K], for k = 1 ... K trials.

    Attributes:
      hit: probability that at least one of k trials hits.
      best: expected time of the best of k, given that one hits; NaN where no trial of any study does.
      cost: expected sum of the charged time of k trials, each to its hit or its cap.
    """

    hit: np.ndarray
    best: np.ndarray
    cost: np.ndarray


def luck(times: np.ndarray, charged: np.ndarray) -> Luck:
    """Tuning luck of one cell.

    Args:
      times: [studies, K] time to target; inf for a trial that missed.
      charged: [studies, K] time charged, to the hit or to the cap; finite, same unit.
    """
    trials = times.shape[-1]
    ordered = np.sort(times, axis=-1)
    is_hit = np.isfinite(ordered)
    hits = is_hit.sum(axis=-1)
    k = np.arange(1, trials + 1)
    # weight[k, j]: share of the subsets of k whose fastest trial is the study's j-th (0-based): C(K-1-j, k-1) / C(K, k).
    weight = np.array([[math.comb(trials - 1 - j, n - 1) / math.comb(trials, n) for j in range(trials)] for n in k])
    missed = np.array([[math.comb(trials - int(h), n) / math.comb(trials, n) for h in hits] for n in k])  # [K, studies]
    hit = (1 - missed).mean(axis=-1)
    total = (np.where(is_hit, ordered, 0) @ weight.T).mean(axis=0)
    best = np.divide(total, hit, out=np.full(trials, np.nan), where=hit > 0)
    return Luck(hit, best, k * charged.mean())
