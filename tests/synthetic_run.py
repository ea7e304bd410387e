"""A run directory made of formulas: every number of a board in control, no training."""

import pathlib
from collections.abc import Callable

import msgspec
import numpy as np

from algoperf_lite import records, search

EVALUATIONS = 50
INTERVAL = 10
STEP_S = 0.01  # seconds per reference step

Hit = Callable[[str, str, int, int], int | None]  # entrant, workload, study, trial -> evaluation of the first hit


def benchmark(
    entrants=("nadamw", "lion"), workloads=("digits", "words"), studies=3, points=1, reference_steps=0.0, **fields
):
    """A resolved benchmark; entrants named `aa*` are the file of the first entrant."""

    def entrant(name):
        source = entrants[0] if name.startswith("aa") else name
        return records.Entrant(
            name=name,
            source=source,
            sha256=f"{sum(source.encode()):064x}",
            points=[[{"learning_rate": 10.0**-k} for k in range(points)] for _ in range(studies)],
        )

    def workload(name):
        return records.WorkloadInfo(
            source=name,
            version=1,
            family="synthetic",
            tier="micro",
            metric="accuracy",
            direction="max",
            validation_target=0.9,
            test_target=0.88,
            step_budget=EVALUATIONS * INTERVAL,
            evaluations=EVALUATIONS,
            batch_size=64,
            provisional=name.startswith("new"),
            seed_sd=0.01,
            reference={"learning_rate": 0.01},
            reference_steps=reference_steps,
            reference_source="target record",
        )

    cost = records.Cost(
        factor=1.0, build_s=0.0, step_cap=EVALUATIONS * INTERVAL, compile_s=1.0, blocks=20, reference_step_s=STEP_S
    )
    known = {
        "name": "synthetic",
        "version": 1,
        "ruleset": "external",
        "seed": 123456,
        "studies": studies,
        "points": points,
        "budget_factor": 1.0,
        "mesh": {"data": 1},
        "driver": "scan",
        "smoke": False,
        "run_past": False,
        "paired": False,
        "workloads": {name: workload(name) for name in workloads},
        "entrants": [entrant(name) for name in entrants],
        "costs": {name: {w: {"{}": cost} for w in workloads} for name in entrants},
        "manifest": {"package": "0.1.0", "device": "cpu", "git": "0123456"},
    }
    return records.Benchmark(**(known | fields))


def write(
    path: pathlib.Path,
    board: records.Benchmark,
    hit: Hit,
    unfinished: Callable[[records.TrialSpec], bool] = lambda spec: False,
    **outcome_fields,
) -> pathlib.Path:
    """Write the files of a whole board. `hit` gives the evaluation of each trial's first hit, None for a miss."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "benchmark.json").write_bytes(msgspec.json.encode(board))
    for spec in search.trials(board):
        folder = path / "trials" / spec.id
        folder.mkdir(parents=True, exist_ok=True)
        manifest = {"package": spec.package_version, "jax": "0.10.2", "device_kind": "cpu"}
        (folder / "trial.json").write_bytes(msgspec.json.encode(msgspec.to_builtins(spec) | {"manifest": manifest}))
        at = hit(spec.entrant, spec.workload, spec.study, spec.trial)
        evaluations = events(spec, at)
        (folder / "events.jsonl").write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in evaluations))
        if not unfinished(spec):
            (folder / "outcome.json").write_bytes(msgspec.json.encode(outcome(evaluations, at, **outcome_fields)))
    return path


def events(spec: records.TrialSpec, at: int | None) -> list[records.Event]:
    """Accuracy that saturates, passes 0.9 at evaluation `at`, and wriggles with the seed."""
    last = at or EVALUATIONS
    rng = np.random.default_rng(spec.seed)
    wriggle = rng.normal(0, 0.008, last + 1)
    rate = (at or 3 * EVALUATIONS) / 2.5
    found = []
    for i in range(1, last + 1):
        value = min(0.88 + wriggle[i] / 4, 0.98 * (1 - np.exp(-i / rate)) + wriggle[i])
        value = 0.902 if i == at else min(value, 0.897)
        found.append(
            records.Event(
                step=i * INTERVAL,
                examples=i * INTERVAL * 64,
                train_time_s=i * INTERVAL * STEP_S,
                eval_charge_s=0.0,
                submission_time_s=i * INTERVAL * STEP_S,
                reference_steps=float(i * INTERVAL),
                eval_time_s=0.05,
                train_loss=float(2 * np.exp(-i / rate)),
                eval_train={"accuracy": float(value), "loss": float(1 - value)},
                validation={"accuracy": float(value), "loss": float(1 - value)},
            )
        )
    return found


def outcome(evaluations: list[records.Event], at: int | None, **fields) -> records.Outcome:
    """The outcome of a trial with these evaluations."""
    last = evaluations[-1]
    known = {
        "outcome": "target_reached" if at else "budget_exhausted",
        "step": last.step if at else None,
        "time_s": last.submission_time_s if at else None,
        "reference_steps": last.reference_steps if at else None,
        "last_step": last.step,
        "charged_s": last.submission_time_s,
        "charged_reference_steps": last.reference_steps,
        "best": max(event.validation["accuracy"] for event in evaluations),
        "test": 0.89,
        "test_missed": False,
        "reference_blocks": [(0, STEP_S)],
        "drift": 0.02,
        "noisy": False,
        "build_s": 0.0,
        "init_s": 0.01,
        "compilations_while_charged": 0,
        "preemptions": 0,
        "lost_s": 0.0,
        "restarts": 0,
        "wall_s": 3.0,
        "load_average": 1.0,
        "host": "cpu-1",
    }
    return records.Outcome(**(known | fields))
