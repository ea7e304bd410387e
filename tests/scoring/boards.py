"""Small boards for the tests of scoring."""

import math

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
