"""Logs in AlgoPerf's layout, made by hand: every evaluation of a board in control."""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence

from algoperf_lite.results import algoperf_logs

Evaluations = Sequence[tuple[float, float]] | None  # (seconds, validation metric) in order; None: a folder without a file
Boards = Mapping[str, Mapping[str, Sequence[Sequence[Evaluations]]]]  # submission -> workload -> [studies][trials]

TARGETS = {"loss": ("min", 0.5), "accuracy": ("max", 0.5)}
BUDGET_S, PERIOD_S = 1000.0, 10.0


def benchmark(path: pathlib.Path, workloads: Mapping[str, str], held_out=None, **fields) -> str:
    """Write a board with {workload: metric} and {variant: base}; returns its path, to be given as --benchmark."""
    known = {"kind": "algoperf-logs", "name": "made", "version": 1, "ruleset": "external", "studies": 3, "trials": 1}
    known |= {"budget_factor": 1, "reference": "a"} | fields
    lines = [f"{key} = {json.dumps(value)}" for key, value in known.items()]
    for name, metric in workloads.items():
        direction, target = TARGETS[metric]
        table = {"name": name, "metric": metric, "direction": direction, "target": target}
        table |= {"budget_s": BUDGET_S, "eval_period_s": PERIOD_S}
        table |= {"held_out_of": held_out[name]} if held_out and name in held_out else {}
        lines += ["", "[[workload]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def points(board: Boards) -> int:
    """The most trials that a study has: `trials` of a board that these logs are of."""
    return max(len(trials) for by_workload in board.values() for studies in by_workload.values() for trials in studies)


def hit(seconds: float, metric: str = "loss", index: int | None = None) -> Evaluations:
    """Evaluations every PERIOD_S that first meet the target at `seconds`, after `index` others; inf: a miss."""
    bad, good = (0.9, 0.4) if metric == "loss" else (0.1, 0.6)
    if math.isinf(seconds):
        return [(PERIOD_S * (i + 1), bad) for i in range(5)]
    index = 3 if index is None else index
    return [(seconds - PERIOD_S * k / 10, good if k == 0 else bad) for k in range(index, -1, -1)]


def write(path: pathlib.Path, workloads: Mapping[str, str], board: Boards, framework: str = "jax") -> pathlib.Path:
    """Write the files of a board; studies count from 0, trials from 1, as AlgoPerf's do."""
    for submission, by_workload in board.items():
        for workload, studies in by_workload.items():
            for j, trials in enumerate(studies):
                for k, evaluations in enumerate(trials, 1):
                    folder = path / submission / f"study_{j}" / f"{workload}_{framework}" / f"trial_{k}"
                    folder.mkdir(parents=True)
                    if evaluations is not None:
                        (folder / algoperf_logs.FILE).write_text(text(evaluations, workloads[workload]))
                        (folder / "hparams.json").write_text(json.dumps({"learning_rate": 10.0**-k}))
    return path


def text(evaluations: Sequence[tuple[float, float]], metric: str) -> str:
    """An `eval_measurements.csv`; steps count by ten."""
    rows = [f"{10 * i + 1},{time!r},{value!r},{time!r}\n" for i, (time, value) in enumerate(evaluations)]
    return f"global_step,accumulated_submission_time,validation/{metric},score\n" + "".join(rows)
