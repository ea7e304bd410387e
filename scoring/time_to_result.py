"""Time to result: from trials to AlgoPerf's score (Dahl et al. 2023, arXiv 2306.07179, section 4; PROTOCOL P14).

Arrays are [submissions, workloads, studies] or [submissions, workloads], in the order of the board; inf is a miss.
Our boards use rule `time`: a study's time is the smallest time among its trials that hit. AlgoPerf's own logs need
rule `index` and its held-out columns; the two are never mixed.
"""

import numpy as np

from scoring.table import Board, Trial, Unit

TAUS = np.linspace(1.0, 4.0, 100)
"""AlgoPerf's grid of performance ratios, linear, both ends included."""
TAU_MAX = 4.0


def winners(board: Board, unit: Unit) -> dict[tuple[str, str, int], Trial]:
    """(submission, workload, study) -> the study's fastest hit; absent where every trial missed.

    A tie goes to the smaller trial number, so that the units shown beside the time are reproducible.
    """
    best: dict[tuple[str, str, int], Trial] = {}
    for trial in sorted(board.trials, key=lambda trial: trial.key):
        where = trial.key[:3]
        if np.isfinite(trial.time(unit)) and (where not in best or trial.time(unit) < best[where].time(unit)):
            best[where] = trial
    return best


def study_times(board: Board, unit: Unit, shown: Unit | None = None) -> np.ndarray:
    """[submissions, workloads, studies] time of each study's winner by `unit`, expressed in `shown`."""
    best = winners(board, unit)
    return np.array(
        [
            [
                [
                    best[name, workload.name, study].time(shown or unit) if (name, workload.name, study) in best else np.inf
                    for study in range(board.studies)
                ]
                for workload in board.workloads
            ]
            for name in board.entrants
        ]
    ).reshape(len(board.entrants), len(board.workloads), board.studies)


def medians(times: np.ndarray) -> np.ndarray:
    """[..., studies] -> [...]: median over studies. A study without a hit is inf and stays in; NaN counts as inf."""
    return np.median(np.where(np.isnan(times), np.inf, times), axis=-1)


def apply_limit(times: np.ndarray) -> np.ndarray:
    """[..., submissions, workloads]: inf where the time is over 4 times the best of the field."""
    best = times.min(axis=-2, keepdims=True)
    return np.where(times > TAU_MAX * best, np.inf, times)


def ratios(times: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
    """[..., submissions, workloads] time over the field's best (or over `reference` [workloads]); a miss is inf."""
    base = times.min(axis=-2, keepdims=True) if reference is None else reference
    finite = np.isfinite(times)
    return np.divide(times, base, out=np.full(times.shape, np.inf), where=finite)


def profile(ratio: np.ndarray, taus: np.ndarray = TAUS) -> np.ndarray:
    """[..., submissions, workloads] -> [..., submissions, taus]: share of workloads solved within tau of the best.

    A workload that nobody solves still counts in the denominator.
    """
    # One tau at a time: a bootstrap's ratios times the grid would not fit the cache, nor sometimes the memory.
    return np.stack([(ratio <= tau).mean(axis=-1) for tau in taus], axis=-1)


def integrate(rho: np.ndarray, taus: np.ndarray = TAUS) -> np.ndarray:
    """[..., taus] -> [...]: trapezoid over the grid, divided by its length: the score, in [0, 1]."""
    return np.trapezoid(rho, taus, axis=-1) / (taus[-1] - taus[0])


def scores(times: np.ndarray) -> np.ndarray:
    """[..., submissions, workloads] times (medians over studies) -> [..., submissions] AlgoPerf's benchmark scores."""
    return integrate(profile(ratios(apply_limit(times))))


def scores_vs_reference(times: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The same integral over time / frozen reference time [workloads] (P15): it does not depend on the field."""
    return integrate(profile(ratios(times, reference)))
