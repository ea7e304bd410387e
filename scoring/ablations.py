"""How much does the ranking depend on the rules? The board scored again with one rule changed at a time.

None of these is a better rule. A rank that no row moves is a property of the submissions, one that many rows move is a
property of the rules.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from scoring import time_to_result
from scoring.rules import Unit
from scoring.table import Board, Curve, Key, Trial, Workload

TAU_LIMITS = (2.0, 3.0, 6.0, 10.0)
Curves = Mapping[Key, Curve]
NOTHING = Curve(np.empty(0), {})  # of a trial that ended before its first evaluation


@dataclasses.dataclass(frozen=True)
class Ablation:
    """One row. `scores` and `ranks` lack the submission that was left out; both are empty where the board cannot say.

    `swaps` counts pairs of submissions that the row orders differently from the rules as they are, ties apart.
    """

    rule: str
    kind: str
    scores: dict[str, float]
    ranks: dict[str, int]
    swaps: int
    note: str = ""


def ranks(scores: Mapping[str, float]) -> dict[str, int]:
    """1 + how many score higher: tied submissions share the better rank."""
    return dict(zip(scores, time_to_result.ranks(np.array(list(scores.values()))).tolist(), strict=True))


def board_scores(board: Board) -> dict[str, float]:
    """Submission -> score by the board's rules."""
    medians = time_to_result.medians(time_to_result.study_times(board, board.unit), board.rules)
    return dict(zip(board.entrants, time_to_result.scores(medians, board.rules, board.held_out).tolist(), strict=True))


def ablate(board: Board, curves: Curves, one_machine: bool = True) -> list[Ablation]:
    """The rules as they are, then one change a row. `curves` are those of the board's trials that were evaluated.

    `one_machine`: all trials ran on one kind of machine, so that seconds may be compared.
    """
    base = board_scores(board)
    rows = []
    for kind, rule, variant, note in _variants(board, curves, one_machine):
        found = board_scores(variant) if variant is not None else {}
        rows.append(Ablation(rule, kind, found, ranks(found), _swaps(base, found), note))
    return rows


SHOWN: tuple[tuple[Unit, str], ...] = (("steps", "optimizer steps"), ("seconds", "seconds"))


def _variants(board: Board, curves: Curves, one_machine: bool) -> Iterator[tuple[str, str, Board | None, str]]:
    """(kind, rule, board, note); None for a board that the records cannot give."""
    rules = board.rules

    def changed(**fields) -> Board:
        return dataclasses.replace(board, rules=dataclasses.replace(rules, **fields))

    yield "as it is", "the rules as they are", board, ""
    yield "integral", "exact integral in place of the grid", changed(points=None), ""
    for tau in TAU_LIMITS:
        yield "limit", f"profile and limit up to {tau:g} times the best", changed(tau_max=tau, limit=tau), ""
    if board.points > 1 and rules.winner == "index":
        yield "winner", "a study's time is its smallest time, not its smallest evaluation index", changed(winner="time"), ""
    elif board.points > 1:
        yield "winner", "a study's time is that of the smallest evaluation index", changed(winner="index"), ""
    if rules.absent == "dropped":
        yield "absent", "a study without a readable trial is a miss", changed(absent="miss"), ""
    if board.held_out:
        yield (
            "held-out",
            "without the held-out variants",
            _without_workloads(board, lambda w: w.held_out_of is not None),
            "",
        )
    for unit, words in SHOWN:
        known = all(math.isfinite(t.time(unit)) for t in board.trials if math.isfinite(t.time(board.unit)))
        if unit != board.unit and known and (one_machine or unit == "steps"):
            yield "unit", f"ranked by {words}", changed(unit=unit), ""
    yield "time", "a hit counts at the middle of the interval since the evaluation before", _midpoints(board, curves), ""
    yield from _moved_targets(board, curves)
    if len(board.base) > 1:
        for workload in board.base:
            out = {workload.name}
            without = _without_workloads(board, lambda w, out=out: w.name in out or w.held_out_of in out)
            yield "workload", f"without {workload.name}", without, ""
    if len(board.entrants) > 1:
        for name in board.entrants:
            yield "submission", f"without {name}", _without_submission(board, name), ""


def _swaps(base: Mapping[str, float], found: Mapping[str, float]) -> int:
    names = list(found)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return sum(_order(base, a, b) * _order(found, a, b) < 0 for a, b in pairs)


def _order(scores: Mapping[str, float], a: str, b: str) -> float:
    """The difference of two scores, 0 where it is rounding."""
    return scores[a] - scores[b] if abs(scores[a] - scores[b]) > time_to_result.TIE else 0.0


def _rows(board: Board, change: Callable[[Trial], Trial | None]) -> Board:
    rows = tuple(row for trial in board.trials if (row := change(trial)) is not None)
    return dataclasses.replace(board, trials=rows, expected=frozenset(row.key for row in rows))


def _without_workloads(board: Board, out: Callable[[Workload], bool]) -> Board:
    left = tuple(w for w in board.workloads if not out(w))
    names = {w.name for w in left}
    return dataclasses.replace(_rows(board, lambda t: t if t.workload in names else None), workloads=left)


def _without_submission(board: Board, name: str) -> Board:
    kept = _rows(board, lambda t: t if t.submission != name else None)
    return dataclasses.replace(kept, entrants=tuple(other for other in board.entrants if other != name))


# ------------------------------------------------------------------------------------------------- other times


def _at(trial: Trial, curve: Curve, index: int, before: float = 0.0) -> Trial:
    """The trial as if it had hit at evaluation `index`, or the share `before` of an interval before it."""

    def time(unit: Unit) -> float:
        if unit not in curve.times:
            return math.inf
        now = float(curve.times[unit][index])
        last = float(curve.times[unit][index - 1]) if index else 0.0
        return now - before * (now - last)

    units: tuple[Unit, ...] = ("reference_steps", "seconds", "steps", "steps_x_cost")
    return dataclasses.replace(trial, hit=True, evaluation=index, **{unit: time(unit) for unit in units})


def _midpoints(board: Board, curves: Curves) -> Board:
    return _rows(board, lambda t: _at(t, curves[t.key], t.evaluation, before=0.5) if t.hit else t)


def _moved_targets(board: Board, curves: Curves) -> Iterator[tuple[str, str, Board | None, str]]:
    """The target one standard deviation over seeds easier and harder, on all workloads at once."""
    one_point = board.points == 1 or board.rules.winner == "index"  # trials of one number are of one point
    spread = {w.name: w.metric_sd or (metric_sd(board, curves, w.name) if one_point else math.nan) for w in board.workloads}
    unknown = [name for name, sd in spread.items() if math.isnan(sd)]
    for word, sign in (("easier", 1.0), ("harder", -1.0)):
        rule = f"targets one standard deviation over seeds {word}"
        if unknown:
            yield "target", rule, None, f"not known: no two studies of one point to compare on {', '.join(unknown)}"
            continue
        moved = {
            w.name: dataclasses.replace(w, target=w.target + sign * spread[w.name] * (1 if w.direction == "min" else -1))
            for w in board.workloads
        }

        def hit(trial: Trial, moved=moved) -> Trial:
            workload, curve = moved[trial.workload], curves.get(trial.key, NOTHING)
            index = curve.first_hit(workload.target, workload.direction)
            missed = dataclasses.replace(trial, hit=False, evaluation=-1)
            return missed if index < 0 else _at(trial, curve, index)

        variant = dataclasses.replace(_rows(board, hit), workloads=tuple(moved.values()))
        stopped = sum(
            before.hit and not after.hit and not _ran_out(before, curves[before.key], moved[before.workload])
            for before, after in zip(board.trials, variant.trials, strict=True)
        )
        if stopped:
            hits = sum(trial.hit for trial in board.trials)
            yield "target", rule, None, f"not known: {stopped} of {hits} hits stopped before they reached the moved target"
        else:
            yield "target", rule, variant, ""


def _ran_out(trial: Trial, curve: Curve, workload: Workload) -> bool:
    """Whether a trial that hit went on to the end of its budget, so that a harder target was missed indeed."""
    times = curve.times["steps_x_cost" if "steps_x_cost" in curve.times else "seconds"]
    past = len(times) > trial.evaluation + 1
    return past and float(times[-1]) >= workload.budget - 2 * float(np.median(np.diff(times)))


def metric_sd(board: Board, curves: Curves, workload: str) -> float:
    """Standard deviation of the validation metric over seeds near the target, from the board itself; NaN if unknown.

    Of each (submission, trial number), the values of its studies at the evaluation where the first of them hit: every
    study is known there, so stopping at the target cuts nothing off. Where nobody hit: at the last evaluation that all
    studies have. The median over submissions and trial numbers, in the form of a variance, so that one unstable
    submission does not set it. Trials of one number must be of one point in all studies: AlgoPerf's entrants gave lists
    of points; on our boards the target record has the value.
    """
    groups: dict[tuple[str, int], list[Trial]] = {}
    for trial in board.trials:
        if trial.workload == workload:
            groups.setdefault((trial.submission, trial.trial), []).append(trial)
    near, far = [], []
    for trials in groups.values():
        hits = [trial.evaluation for trial in trials if trial.hit]
        seen = [curves[t.key].values for t in trials if t.key in curves]
        at = min(hits) if hits else min(map(len, seen), default=0) - 1
        finite = [values[at] for values in seen if len(values) > at >= 0 and math.isfinite(values[at])]
        if len(finite) > 1:
            (near if hits else far).append(float(np.var(finite, ddof=1)))
    variances = near or far
    return math.sqrt(float(np.median(variances))) if variances else math.nan
