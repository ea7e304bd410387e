"""Small boards for the tests of scoring."""

import dataclasses
import math
import random

from hypothesis import strategies as st

import scoring


def trial(submission="a", workload="w", study=0, trial=0, time=100.0, charged=None, **fields):
    """A row whose four times all follow from `time` (reference steps); inf is a miss."""
    hit = math.isfinite(time)
    known = {
        "outcome": "target_reached" if hit else "budget_exhausted",
        "hit": hit,
        "reference_steps": time,
        "seconds": time / 100,
        "steps": time,
        "steps_x_cost": time,
        "charged_reference_steps": charged or (time if hit else 500.0),
        "charged_seconds": (time if hit else 500.0) / 100,
        "charged_steps": time if hit else 500.0,
        "charged_steps_x_cost": time if hit else 500.0,
        "evaluation": int(time // 10) if hit else -1,
    }
    return scoring.Trial(submission=submission, workload=workload, study=study, trial=trial, **(known | fields))


def board(times, budget=500.0, expected=None, rules=scoring.OURS, held_out=None, **fields):
    """A board from {entrant: {workload: [[times of the study's trials], ...]}}; held_out: {variant: base}."""
    held_out = held_out or {}
    rows = [
        trial(name, workload, j, k, time, **fields)
        for name, by_workload in times.items()
        for workload, studies in by_workload.items()
        for j, study in enumerate(studies)
        for k, time in enumerate(study)
    ]
    workloads = list(next(iter(times.values())))
    studies = max(len(studies) for row in times.values() for studies in row.values())
    return scoring.Board(
        name="test",
        workloads=tuple(
            scoring.Workload(w, "accuracy", "max", 0.9, budget, 10, held_out_of=held_out.get(w)) for w in workloads
        ),
        entrants=tuple(times),
        studies=studies,
        points=max(len(study) for row in times.values() for studies in row.values() for study in studies),
        trials=tuple(rows),
        expected=frozenset(row.key for row in rows) if expected is None else expected,
        rules=rules,
    )


@st.composite
def drawn(draw):
    """Boards of either rule, with and without held-out variants, misses and (AlgoPerf's) absent studies.

    Times come from a narrow range, so that ties, the limit and variants matter. A board is drawn from one number:
    hypothesis would spend its time on a hundred draws of no structure.
    """
    rng, rules = random.Random(draw(st.integers(0, 2**32))), draw(st.sampled_from([scoring.OURS, scoring.ALGOPERF]))
    bases = [f"w{i}" for i in range(rng.randint(1, 3))]
    held_out = {f"{base}_{i}": base for base in bases for i in range(rng.choice([0, 0, 1, 2]))}
    studies, points = rng.randint(1, 4), rng.randint(1, 3)
    rows = []
    for s in range(rng.randint(1, 4)):
        pace = rng.choice([1.0, 2.0, 4.0])
        for workload in rng.sample([*bases, *held_out], len(bases) + len(held_out)):
            missed = rng.random() < 0.15
            for j in range(studies):
                if rules.absent == "dropped" and rng.random() < 0.15:
                    continue
                for k in range(points):
                    time = math.inf if missed or rng.random() < 0.2 else pace * rng.randint(50, 150)
                    index = {} if math.isinf(time) else {"evaluation": rng.randint(0, 4)}
                    rows.append(trial(f"e{s}", workload, j, k, time, **index))
    names = [*bases, *held_out]
    whole = board({f"e{i}": {w: [[1.0] * points] * studies for w in names} for i in range(s + 1)}, held_out=held_out)
    return with_rows(dataclasses.replace(whole, rules=rules, trials=()), rows)


def with_rows(table, rows):
    """The board with other rows, all of them expected."""
    return dataclasses.replace(table, trials=tuple(rows), expected=frozenset(row.key for row in rows))


def slower(row, factor):
    """A row whose trial took `factor` times as long to the same evaluation."""
    known = {unit: getattr(row, unit) * factor for unit in ("reference_steps", "seconds", "steps", "steps_x_cost")}
    return dataclasses.replace(row, **known)


def missed(row):
    """A row whose trial never hit."""
    return dataclasses.replace(row, hit=False, evaluation=-1)
