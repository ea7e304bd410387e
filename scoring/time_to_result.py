"""Time to result: from trials to AlgoPerf's score (Dahl et al. 2023, arXiv 2306.07179, section 4; PROTOCOL P14).

Arrays are [submissions, workloads, studies] or [submissions, workloads], in the order of the board, held-out variants
included; inf is a miss, NaN a study of which nothing was readable (AlgoPerf's logs only). What differs between AlgoPerf's
boards and ours is in `Rules`; leading dimensions, such as a bootstrap's draws, go through everywhere.
"""

from collections.abc import Sequence

import numpy as np

from scoring.rules import OURS, Rules, Unit
from scoring.table import Board, Trial

TIE = 1e-9  # scores are sums: nearer than this they differ by rounding alone
HeldOut = Sequence[tuple[int, int]]  # (column of a held-out variant, column of its base workload)


def winners(board: Board, unit: Unit) -> dict[tuple[str, str, int], Trial]:
    """(submission, workload, study) -> the trial that gives the study its time; absent where every trial missed.

    By the board's rules the fastest hit, or the one with the smallest evaluation index. Ties go to the smaller time and
    then to the smaller trial number, so that nothing depends on the order in which folders were read.
    """
    by_index = board.rules.winner == "index"
    best: dict[tuple[str, str, int], tuple[tuple[int, float, int], Trial]] = {}
    for trial in board.trials:
        time = trial.time(unit)
        if np.isinf(time):
            continue
        rank = (trial.evaluation if by_index else 0, time, trial.trial)
        where = trial.key[:3]
        if where not in best or rank < best[where][0]:
            best[where] = (rank, trial)
    return {where: trial for where, (_, trial) in best.items()}


def study_times(board: Board, unit: Unit, shown: Unit | None = None) -> np.ndarray:
    """[submissions, workloads, studies] time of each study's winner by `unit`, expressed in `shown`.

    inf where no trial hit; NaN where the board has no row of the study at all.
    """
    row = {name: i for i, name in enumerate(board.entrants)}
    column = {workload.name: i for i, workload in enumerate(board.workloads)}
    times = np.full((len(row), len(column), board.studies), np.nan)
    for trial in board.trials:
        times[row[trial.submission], column[trial.workload], trial.study] = np.inf
    for (name, workload, study), trial in winners(board, unit).items():
        times[row[name], column[workload], study] = trial.time(shown or unit)
    return times


def spacing(board: Board) -> np.ndarray:
    """[submissions, workloads] time between two evaluations in the board's unit.

    Evaluations of our boards are spaced in optimizer steps: times the unit's cost of a step, the mean over the cell's hits.
    """
    interval = np.array([workload.interval for workload in board.workloads], float)
    if board.rules.unit == "seconds":
        return np.tile(interval, (len(board.entrants), 1))
    times, steps = (study_times(board, board.unit, shown) for shown in (board.unit, "steps"))
    hit = np.isfinite(times) & np.isfinite(steps)
    times, steps = (np.where(hit, found, 0).sum(axis=-1) for found in (times, steps))
    return interval * np.divide(times, steps, out=np.ones_like(times), where=steps > 0)


def medians(times: np.ndarray, rules: Rules = OURS) -> np.ndarray:
    """[..., studies] -> [...]: median over studies; a study without a hit is inf and stays in.

    An absent study (NaN) is a miss, or is dropped, as the rules say; a cell without any study is NaN.
    """
    if rules.absent == "miss":
        return np.median(np.where(np.isnan(times), np.inf, times), axis=-1)
    ordered = np.sort(times, axis=-1)  # NaN last
    count = np.count_nonzero(~np.isnan(times), axis=-1)[..., None]
    middle = [np.take_along_axis(ordered, np.clip(k, 0, None), axis=-1)[..., 0] for k in ((count - 1) // 2, count // 2)]
    return np.where(count[..., 0] > 0, (middle[0] + middle[1]) / 2, np.nan)


def apply_rules(times: np.ndarray, rules: Rules = OURS, held_out: HeldOut = ()) -> np.ndarray:
    """[..., submissions, workloads] -> [..., submissions, base workloads]: a miss wherever a rule makes it one.

    In AlgoPerf's order: a held-out variant counts only where its base was solved; then every column is cut at `limit`
    times its best; then a base whose variant failed fails too.
    """
    times = np.where(np.isnan(times), np.inf, times)
    for variant, base in held_out:
        times[..., variant] = np.where(np.isinf(times[..., base]), np.inf, times[..., variant])
    best = times.min(axis=-2, keepdims=True)
    times = np.where(times > rules.limit * best, np.inf, times)
    for variant, base in held_out:
        times[..., base] = np.where(np.isinf(times[..., variant]), np.inf, times[..., base])
    variants = {variant for variant, _ in held_out}
    return times[..., [i for i in range(times.shape[-1]) if i not in variants]]


def ratios(times: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
    """[..., submissions, workloads] time over the field's best (or over `reference` [workloads]); a miss is inf."""
    base = times.min(axis=-2, keepdims=True) if reference is None else reference
    finite = np.isfinite(times)
    return np.divide(times, base, out=np.full(times.shape, np.inf), where=finite)


def profile(ratio: np.ndarray, taus: np.ndarray = OURS.taus) -> np.ndarray:
    """[..., submissions, workloads] -> [..., submissions, taus]: share of workloads solved within tau of the best.

    A workload that nobody solves still counts in the denominator.
    """
    # One tau at a time: a bootstrap's ratios times the grid would not fit the cache, nor sometimes the memory.
    return np.stack([(ratio <= tau).mean(axis=-1) for tau in taus], axis=-1)


def integrate(ratio: np.ndarray, rules: Rules = OURS) -> np.ndarray:
    """[..., submissions, workloads] ratios -> [..., submissions]: area under the profile over its length, in [0, 1].

    By the trapezoid rule on the grid, or exactly.
    """
    if rules.points is None:
        return (np.maximum(rules.tau_max - ratio, 0) / (rules.tau_max - 1)).mean(axis=-1)
    # One workload is a step from 0 to 1 at the first point that its ratio reaches, and its area is the trapezoids' rest
    # from there: the trapezoid over `profile`, without a bootstrap's ratios times the grid.
    taus = rules.taus
    weights = np.diff(taus, prepend=taus[0]) + np.diff(taus, append=taus[-1])
    rest = np.append(np.cumsum(weights[::-1])[::-1], 0)
    return (rest / rest[0])[np.searchsorted(taus, ratio)].mean(axis=-1)


def scores(times: np.ndarray, rules: Rules = OURS, held_out: HeldOut = ()) -> np.ndarray:
    """[..., submissions, workloads] times (medians over studies) -> [..., submissions] AlgoPerf's benchmark scores."""
    return integrate(ratios(apply_rules(times, rules, held_out)), rules)


def scores_vs_reference(times: np.ndarray, reference: np.ndarray, rules: Rules = OURS) -> np.ndarray:
    """The same integral over time / frozen reference time [workloads] (P15): it does not depend on the field.

    `times` are those of the base workloads alone: held-out rules ask what the field did.
    """
    return integrate(ratios(times, reference), rules)


def ranks(scores: np.ndarray) -> np.ndarray:
    """[..., submissions] scores -> [..., submissions] ranks, 1 the best: 1 + how many score higher, by more than `TIE`."""
    return 1 + (scores[..., None, :] > scores[..., :, None] + TIE).sum(axis=-1)


def speedups(times: np.ndarray, reference: int, budgets: np.ndarray) -> np.ndarray:
    """[submissions, workloads] -> [submissions]: geometric mean of time over that of submission number `reference`.

    As AlgoPerf's script: a miss counts as the budget [workloads] plus one second, and an absent cell gives NaN. Below 1
    is faster.
    """
    filled = np.where(np.isinf(times), budgets + 1, times)
    return np.exp(np.log(filled / filled[reference]).mean(axis=-1))
