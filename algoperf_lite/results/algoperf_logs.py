"""From AlgoPerf's own logs to `Results`, in the layout in which its boards were published:

    LOGDIR/SUBMISSION/study_J/WORKLOAD_FRAMEWORK/trial_K/eval_measurements.csv    (and hparams.json)

Missing and empty files, stray folders and values that are not a number occur in the official logs and are told in notes.
A file that says something which cannot be true is an error that names file, line and mend: nothing is scored by halves.
"""

import collections
import csv
import math
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

import scoring
from algoperf_lite import config, errors
from algoperf_lite.results.table import About, Results

FILE = "eval_measurements.csv"
FRAMEWORKS = ("jax", "pytorch")
UNITS_APART = 20  # evaluations this many times denser or sparser than the eval period are in another unit
RANGES = {"accuracy": (0.0, 1.0), "mean_average_precision": (0.0, 1.0), "ssim": (-1.0, 1.0), "bleu": (0.0, 100.0)}
WER_PERCENT = 5.0  # no trial of the official logs stays above it; 500 % errors throughout are per cent

Where = tuple[str, str, int, int]


def read(path: str | pathlib.Path, benchmark: str) -> Results:
    """Read all trials of the board's workloads.

    Raises:
      UserError: an unknown board, a folder of another layout, a file that cannot be right.
    """
    path, board = pathlib.Path(path), config.load_logs(benchmark)
    workloads = {w.name: w for w in board.workload}
    folders, notes = _find(path, workloads)
    studies = _studies(folders)
    rows, curves, hparams, absent = [], {}, {}, []
    for (submission, workload, study, trial), folder in sorted(folders.items()):
        info = workloads[workload]
        curve = _curve(folder / FILE, info, board.budget_factor)
        key = (submission, workload, studies[submission].index(study), trial)
        if curve is None:
            absent.append(key)
            continue
        rows.append(_trial(key, curve, info))
        curves[key] = curve
        hparams[key] = _hparams(folder / "hparams.json")
    notes += _notes(board, studies, rows, absent)
    return Results(
        path,
        About(
            kind="algoperf",
            name=board.name,
            version=board.version,
            ruleset=board.ruleset,
            reference=board.reference if board.reference in studies else None,
            notes=tuple(notes),
        ),
        scoring.Board(
            name=board.name,
            workloads=tuple(_workload(w, board.budget_factor) for w in board.workload),
            entrants=tuple(sorted(studies)),
            studies=max(map(len, studies.values())),
            points=max((row.trial for row in rows), default=1),
            trials=tuple(rows),
            expected=frozenset(row.key for row in rows),
            rules=scoring.ALGOPERF,
        ),
        curves,
        hparams,
    )


# ----------------------------------------------------------------------------------------------------- folders


def _find(path: pathlib.Path, workloads: dict[str, Any]) -> tuple[dict[Where, pathlib.Path], list[tuple[str, str]]]:
    """(submission, workload, study, trial) -> folder, and notes on what was passed over."""
    if not path.is_dir():
        raise errors.UserError(f"{path}: no such folder; accepted: a folder of AlgoPerf's logs")
    if (path / "benchmark.json").is_file():
        raise errors.UserError(f"{path} is a run directory of algoperf-lite: score it without --benchmark")
    found: dict[Where, pathlib.Path] = {}
    ignored: collections.Counter[str] = collections.Counter()
    strays: list[str] = []
    for submission in _folders(path):
        for study in _folders(submission):
            study_number = _number(study, "study")
            if study_number is None:
                strays.append(f"{submission.name}/{study.name}")
                continue
            for workload in _folders(study):
                name, _, framework = workload.name.rpartition("_")
                if framework not in FRAMEWORKS:
                    strays.append(f"{submission.name}/{study.name}/{workload.name}")
                    continue
                for trial in _folders(workload):
                    trial_number = _number(trial, "trial")
                    if trial_number is None:
                        strays.append(f"{submission.name}/{study.name}/{workload.name}/{trial.name}")
                    elif name not in workloads:
                        ignored[name] += 1
                    else:
                        where = (submission.name, name, study_number, trial_number)
                        if where in found:
                            raise errors.UserError(
                                f"{trial} is trial {trial_number} of {name} in study {study_number} of {submission.name}, "
                                f"and so is {found[where]}; a trial may be there once: move one of them away"
                            )
                        found[where] = trial
    if not found:
        raise errors.UserError(_no_logs(path, ignored, workloads))
    notes = []
    if ignored:
        which = ", ".join(f"{name} ({n} trials)" for name, n in sorted(ignored.items()))
        notes.append(("not on this board", f"Workloads that the board does not have were ignored: {which}."))
    if strays:
        more = f" and {len(strays) - 3} more" if len(strays) > 3 else ""
        notes.append(("strays", f"Folders of no known meaning were ignored: {', '.join(strays[:3])}{more}."))
    return found, notes


def _folders(path: pathlib.Path) -> list[pathlib.Path]:
    with os.scandir(path) as entries:
        return [path / name for name in sorted(entry.name for entry in entries if entry.is_dir())]


def _number(folder: pathlib.Path, what: str) -> int | None:
    match = re.fullmatch(rf"{what}_(\d+)", folder.name)
    return int(match.group(1)) if match else None


def _no_logs(path: pathlib.Path, ignored: collections.Counter[str], workloads: dict[str, Any]) -> str:
    if ignored:
        return f"{path}: none of its workloads ({', '.join(sorted(ignored))}) is on this board ({', '.join(workloads)})"
    layout = f"SUBMISSION/study_J/WORKLOAD_FRAMEWORK/trial_K/{FILE}"
    inside = sorted(str(p.parent) for p in path.glob("*/*/study_*"))
    hint = f"\n  did you mean {pathlib.Path(inside[0]).parent}?" if inside else ""
    return f"{path}: no logs of AlgoPerf found; accepted: a folder with {layout}{hint}"


def _studies(folders: dict[Where, pathlib.Path]) -> dict[str, list[int]]:
    """Submission -> its study numbers, in order. Studies are counted per submission: nothing pairs them across."""
    found: dict[str, set[int]] = collections.defaultdict(set)
    for submission, _, study, _ in folders:
        found[submission].add(study)
    return {submission: sorted(numbers) for submission, numbers in found.items()}


# ------------------------------------------------------------------------------------------------------- files


def _curve(path: pathlib.Path, workload: config.LogWorkload, factor: float) -> scoring.Curve | None:
    """The evaluations of one trial; None where there is no file, or nothing in it."""
    try:
        text = path.read_text("utf-8")
        lines = list(csv.reader(text.splitlines()))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise errors.UserError(f"{path}: cannot be read as CSV: {e}; copy the file again") from e
    if len(lines) < 2:
        return None
    header, metric = lines[0], f"validation/{workload.metric}"
    step, time, value = (_column(path, header, name) for name in ("global_step", "score", metric))
    twin = header.index("accumulated_submission_time") if "accumulated_submission_time" in header else time
    numbers = np.empty((len(lines) - 1, 4))
    for i, line in enumerate(lines[1:]):
        if len(line) != len(header) or (i + 2 == len(lines) and not text.endswith("\n")):
            raise errors.UserError(
                f"{path}:{i + 2}: {len(line)} fields of {len(header)}, or the last is not whole: the file is "
                "cut off or damaged; copy it again, or delete the line if the run was killed there"
            )
        try:
            numbers[i] = [float(line[step]), *(float(line[column] or "nan") for column in (time, value, twin))]
        except ValueError:
            raise errors.UserError(_not_a_number(path, i + 2, header, line, (step, time, value, twin))) from None
    _check(path, numbers, workload, factor)
    return scoring.Curve(numbers[:, 2], {"seconds": numbers[:, 1], "steps": numbers[:, 0]})


def _column(path: pathlib.Path, header: list[str], name: str) -> int:
    if name not in header:
        hint = "is this another workload's file?" if name.startswith("validation/") else "copy the file again"
        raise errors.UserError(f"{path}:1: there is no column {name!r}; columns are {', '.join(header)}; {hint}")
    if header.count(name) > 1:
        raise errors.UserError(f"{path}:1: column {name!r} stands {header.count(name)} times; one of them must go")
    return header.index(name)


def _not_a_number(path: pathlib.Path, number: int, header: list[str], line: list[str], used: tuple[int, ...]) -> str:
    for column in used:
        try:
            float(line[column] or ("" if header[column] == "global_step" else "nan"))
        except ValueError:
            return (
                f"{path}:{number}: {header[column]} is {line[column]!r}, accepted: a number; "
                "mend the line or copy the file again"
            )
    raise AssertionError("one of the columns was no number")


def _check(path: pathlib.Path, numbers: np.ndarray, workload: config.LogWorkload, factor: float) -> None:
    """Refuse what cannot be true. Not-a-numbers pass: they never win."""
    steps, times, values, twins = numbers.T

    def refuse(bad: np.ndarray, text: str) -> None:
        if bad.any():
            raise errors.UserError(f"{path}:{int(bad.argmax()) + 2}: {text}")

    later = np.zeros(len(steps), bool)
    with np.errstate(invalid="ignore"):
        refuse(times <= 0, "score, the seconds since the start, is not above 0; copy the file again")
        later[1:] = np.diff(times) < 0
        refuse(later, "score, the seconds since the start, goes back; two runs in one file? keep one of them")
        later[1:] = ~(np.diff(steps) > 0)
        refuse(later | ~np.isfinite(steps), "global_step does not grow; two runs in one file? keep one of them")
        refuse(
            np.abs(times - twins) > 1e-6 * np.abs(times),
            "score and accumulated_submission_time differ; both are seconds since the start in AlgoPerf's logs",
        )
        gap = float(np.median(np.diff(times))) if len(times) > 4 else math.nan
        period = workload.eval_period_s
        if gap > UNITS_APART * period or gap < period / UNITS_APART or times[-1] > UNITS_APART * factor * workload.budget_s:
            raise errors.UserError(
                f"{path}:{len(times) + 1}: score ends at {times[-1]:.6g}"
                + ("" if math.isnan(gap) else f" with {gap:.3g} between evaluations")
                + f"; accepted: seconds, of which this workload has {period:g} between evaluations and "
                f"{factor * workload.budget_s:g} in all; convert the file to seconds or name the right --benchmark"
            )
        low, high = RANGES.get(workload.metric, (-math.inf, math.inf))
        finite = np.isfinite(values)
        refuse(
            finite & ((values < low) | (values > high)),
            f"validation/{workload.metric} is outside {low:g} to {high:g}; another unit (per cent)? convert the column",
        )
        if workload.metric == "wer" and finite.any() and values[finite].min() > WER_PERCENT:
            refuse(finite, f"validation/wer is never below {WER_PERCENT:g}; per cent? accepted: errors per word")


def _hparams(path: pathlib.Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise errors.UserError(f"{path}: accepted: one JSON object of hyperparameters; {e}; copy the file again") from e


# --------------------------------------------------------------------------------------------------- the table


def _workload(info: config.LogWorkload, factor: float) -> scoring.Workload:
    return scoring.Workload(
        name=info.name,
        metric=info.metric,
        direction=info.direction,
        target=info.target,
        budget=factor * info.budget_s,
        interval=info.eval_period_s,
        reference=info.reference_s,
        held_out_of=info.held_out_of,
    )


def _trial(key: scoring.Key, curve: scoring.Curve, info: config.LogWorkload) -> scoring.Trial:
    """The row. A hit at a time that is not a number is none. AlgoPerf has no cost factor and no reference step."""
    at = curve.first_hit(info.target, info.direction)
    seconds, steps = curve.times["seconds"], curve.times["steps"]
    hit = at >= 0 and bool(np.isfinite(seconds[at]))
    end = at if hit else -1
    return scoring.Trial(
        *key,
        outcome="target_reached" if hit else "budget_exhausted",
        hit=hit,
        reference_steps=math.inf,
        seconds=float(seconds[at]) if hit else math.inf,
        steps=float(steps[at]) if hit else math.inf,
        steps_x_cost=math.inf,
        charged_reference_steps=math.inf,
        charged_seconds=float(seconds[end]),
        charged_steps=float(steps[end]),
        charged_steps_x_cost=math.inf,
        evaluation=at if hit else -1,
    )


def _notes(
    board: config.LogBenchmark, studies: dict[str, list[int]], rows: list[scoring.Trial], absent: list[scoring.Key]
) -> Iterator[tuple[str, str]]:
    if absent:
        cells = collections.Counter(key[:2] for key in absent)
        which = ", ".join(f"{name} on {workload} ({n})" for (name, workload), n in sorted(cells.items()))
        yield "no measurements", f"{len(absent)} trial folders have no evaluations: {which}."
    trials = collections.Counter(row.key[:3] for row in rows)
    found = collections.Counter(where[:2] for where in trials)
    nothing = [f"{s} on {w.name}" for s in studies for w in board.workload if not found[s, w.name]]
    if nothing:
        yield "absent", f"Without any readable trial, which counts as a failure: {', '.join(nothing)}."
    fewer = [f"{s} on {w} ({n})" for (s, w), n in sorted(found.items()) if n != board.studies]
    if fewer:
        yield (
            "studies",
            f"The board is of {board.studies} studies; the median is over those at hand, as AlgoPerf does: "
            f"{', '.join(fewer)}.",
        )
    short = collections.Counter(where[:2] for where, n in trials.items() if n != board.trials)
    if short:
        which = ", ".join(f"{s} on {w} ({n})" for (s, w), n in sorted(short.items()))
        yield "trials", f"Studies that do not have {board.trials} readable trials: {which}."
    budget = {w.name: board.budget_factor * w.budget_s for w in board.workload}
    late = [row for row in rows if row.hit and row.seconds > budget[row.workload]]
    if late:
        yield (
            "after the budget",
            f"{len(late)} hits came after the budget; AlgoPerf's rule tests it only at evaluations and counts them.",
        )
