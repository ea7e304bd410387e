"""From AlgoPerf's own logs to `Results`, in the layout in which its boards were published:

    LOGDIR/SUBMISSION/study_J/WORKLOAD_FRAMEWORK/trial_K/eval_measurements.csv    (and hparams.json)

Missing and empty files, stray folders and values that are not a number occur in the official logs and are told in notes.
A file that says something which cannot be true is an error that names file, line and mend: nothing is scored by halves.
"""

import collections
import contextlib
import csv
import io
import math
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

import scoring
from algoperf_lite import config, errors
from algoperf_lite.results.table import About, Results

FILE = "eval_measurements.csv"
LAYOUT = f"SUBMISSION/study_J/WORKLOAD_FRAMEWORK/trial_K/{FILE}"
FRAMEWORKS = ("jax", "pytorch")
UNITS_APART = 50  # evaluations this many times denser or sparser than the eval period are in another unit
RANGES = {"accuracy": (0.0, 1.0), "mean_average_precision": (0.0, 1.0), "ssim": (-1.0, 1.0), "bleu": (0.0, 100.0)}
FIRST_STEP_S = 0.01  # the first evaluation follows the first step, which no machine compiles and runs in less
WER_PERCENT = 5.0  # no trial of the official logs stays above it; 500 % errors throughout are per cent
ANOTHER = "another board?"
BEYOND = 1.2  # budgets; a run ends at the first evaluation after its budget
TWIN = "accumulated_submission_time"  # equals `score` in every official file
AGAIN = "copy the file again"
MEND = f"correct the line or {AGAIN}"
TWO_RUNS = "two runs in one file? keep one of them"

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
        rows.append(_trial(key, curve, info, board.budget_factor))
        curves[key] = curve
        hparams[key] = _hparams(folder / "hparams.json")
    if not rows:
        raise errors.UserError(f"{path}: none of its {len(folders)} trial folders has evaluations in {FILE}")
    notes = [*_another_board(board, rows), *notes]
    notes += _notes(board, studies, rows, absent, curves)
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
            points=max(collections.Counter(row.key[:3] for row in rows).values()),
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
        what = "is a file" if path.exists() else "does not exist"
        raise errors.UserError(f"{path} {what}; accepted: a folder of AlgoPerf's logs, holding {LAYOUT}")
    if (path / "benchmark.json").is_file():
        raise errors.UserError(f"{path} is a run directory of algoperf-lite: score it without --benchmark")
    found: dict[Where, pathlib.Path] = {}
    ignored: collections.Counter[str] = collections.Counter()
    strays: list[str] = []
    for submission in (submissions := _folders(path)):
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
    nothing = [s.name for s in submissions if s.name not in {where[0] for where in found}]
    if nothing:
        notes.append(("without trials", f"Folders without a trial of this board are not on it: {', '.join(nothing)}."))
    return found, notes


def _folders(path: pathlib.Path) -> list[pathlib.Path]:
    """The folders in a folder, in order. Links are followed; one that leads nowhere may hide a study, so it is refused."""
    try:
        with os.scandir(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as e:
        raise errors.UserError(f"{path}: cannot be read: {e.strerror}; make it readable or copy it again") from e
    for entry in found:
        if entry.is_symlink() and not os.path.exists(entry):
            raise errors.UserError(f"{entry.path} is a link that leads nowhere: mend or remove it")
    return [path / entry.name for entry in found if entry.is_dir()]


def _number(folder: pathlib.Path, what: str) -> int | None:
    match = re.fullmatch(rf"{what}_(\d+)", folder.name)
    return int(match.group(1)) if match else None


def _no_logs(path: pathlib.Path, ignored: collections.Counter[str], workloads: dict[str, Any]) -> str:
    if ignored:
        return (
            f"{path}: none of its workloads ({', '.join(sorted(ignored))}) is on this board ({', '.join(workloads)}); "
            "name another --benchmark"
        )
    near = sorted({str(study.parents[1]) for study in path.glob("*/*/study_*")})
    if any(path.glob("study_*")):
        near = [str(path.parent)]
    hint = f"\n  did you mean {' or '.join(near)}?" if near else ""
    return f"{path}: no logs of AlgoPerf found; accepted: a folder that holds {LAYOUT}{hint}"


def _studies(folders: dict[Where, pathlib.Path]) -> dict[str, list[int]]:
    """Submission -> its study numbers, in order. Studies are counted per submission: nothing pairs them across."""
    found: dict[str, set[int]] = collections.defaultdict(set)
    for submission, _, study, _ in folders:
        found[submission].add(study)
    return {submission: sorted(numbers) for submission, numbers in found.items()}


# ------------------------------------------------------------------------------------------------------- files


def _curve(path: pathlib.Path, workload: config.LogWorkload, factor: float) -> scoring.Curve | None:
    """The evaluations of one trial; None where there is no file, or no evaluation in it."""
    text = _text(path)
    found = _plain(path, text, workload) or _careful(path, text, workload)
    if found is None:
        return None
    numbers, table = found
    _check(path, numbers, table, workload, factor)
    return scoring.Curve(table[2], {"seconds": table[1], "steps": table[0]})


Table = tuple[Sequence[int], np.ndarray]
"""Line numbers [evaluations], and columns [step, score, metric, and the twin of score where there is one; evaluations]."""


def _names(header: list[str], workload: config.LogWorkload) -> list[str]:
    return ["global_step", "score", f"validation/{workload.metric}", *([TWIN] if TWIN in header else [])]


def _plain(path: pathlib.Path, text: str, workload: config.LogWorkload) -> Table | None:
    """A file without quotes, gaps or faults, read at once by numpy; None for any other."""
    first, *lines = text.split("\n")
    header = first.split(",")
    if (
        not first
        or not lines
        or lines.pop()
        or not lines
        or '"' in text
        or any(line.count(",") != len(header) - 1 for line in lines)
    ):
        return None
    columns = [_column(path, header, name) for name in _names(header, workload)]
    with contextlib.suppress(ValueError):
        return range(2, len(lines) + 2), np.loadtxt(lines, delimiter=",", usecols=columns, comments=None, ndmin=2).T
    return None


def _careful(path: pathlib.Path, text: str, workload: config.LogWorkload) -> Table | None:
    """A file read line by line, so that a fault has a line number; None without evaluations."""
    reader, lines, number = csv.reader(io.StringIO(text)), [], 1
    try:
        for line in reader:
            if line:
                lines.append((number, line))
            number = reader.line_num + 1
    except csv.Error as e:
        raise errors.UserError(f"{path}:{number}: not CSV: {e}; {AGAIN}") from e
    if not lines:
        return None
    header = lines.pop(0)[1]
    names = _names(header, workload)
    columns = [_column(path, header, name) for name in names]
    if not lines:
        return None
    rows = []
    for number, line in lines:
        if len(line) != len(header):
            raise errors.UserError(
                f"{path}:{number}: {len(line)} fields, the header has {len(header)}: the line is cut off or damaged; "
                f"{AGAIN}, or delete the line if the run was killed there"
            )
        try:
            rows.append([float(line[column] or "nan") for column in columns])
        except ValueError:
            raise errors.UserError(f"{path}:{number}: {_no_number(names, columns, line)}; {MEND}") from None
    if not text.endswith("\n"):
        raise errors.UserError(
            f"{path}:{lines[-1][0]}: the last line does not end, so its last number may be cut off; {AGAIN}, or delete the "
            "line if the run was killed there, or end it if it is whole"
        )
    return [number for number, _ in lines], np.array(rows).T


def _text(path: pathlib.Path) -> str:
    """A file's text; empty where there is no file."""
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as e:
        line = e.object.count(b"\n", 0, e.start) + 1
        raise errors.UserError(f"{path}:{line}: not UTF-8 text: {e.reason}; {AGAIN}") from e
    except OSError as e:
        raise errors.UserError(f"{path}: cannot be read: {e.strerror}; {AGAIN}") from e


def _column(path: pathlib.Path, header: list[str], name: str) -> int:
    if name not in header:
        alike = [column for column in header if ("/" in column) == ("/" in name)] or header
        hint = (
            f"the separator must be a comma; where it is, {AGAIN}"
            if len(header) == 1
            else "is it another workload's file?"
            if "/" in name
            else AGAIN
        )
        raise errors.UserError(f"{path}:1: there is no column {name!r} among {_short(alike)}; {hint}")
    if header.count(name) > 1:
        raise errors.UserError(f"{path}:1: column {name!r} stands {header.count(name)} times; remove all but one")
    return header.index(name)


def _no_number(names: list[str], columns: list[int], line: list[str]) -> str:
    """Which cell of a line is none."""
    for name, column in zip(names, columns, strict=True):
        try:
            float(line[column] or "nan")
        except ValueError:
            return f"{name} is {_short(line[column])}, accepted: a number"
    raise AssertionError("all cells are numbers")


def _short(value: Any, most: int = 150) -> str:
    """What a damaged file says may be long."""
    text = repr(value)
    return text if len(text) <= most else text[:most] + "..."


def _check(
    path: pathlib.Path, lines: Sequence[int], table: np.ndarray, workload: config.LogWorkload, factor: float
) -> None:
    """Refuse what cannot be true; `table` [columns, evaluations]. Metrics that are no numbers pass: they never win."""
    steps, times, values, twins = *table[:3], table[-1 if len(table) == 4 else 1]

    def refuse(bad: np.ndarray, text: str) -> None:
        if bad.any():
            raise errors.UserError(f"{path}:{lines[int(bad.argmax())]}: {text}")

    refuse(~np.isfinite(steps), f"global_step is not a finite number; {MEND}")
    refuse((steps <= 0) | (np.diff(steps, prepend=0.0) < 0), f"global_step does not grow from above 0; {TWO_RUNS}")
    refuse(~np.isfinite(times), f"score, the seconds since the start, is not a finite number; {MEND}")
    refuse(times <= 0, f"score, the seconds since the start, is not above 0; {AGAIN}")
    refuse(np.diff(times, prepend=0.0) < 0, f"score, the seconds since the start, goes back; {TWO_RUNS}")
    refuse(
        np.abs(times - twins) > 1e-6 * times,
        f"score and {TWIN} differ; both are seconds since the start in AlgoPerf's logs: correct one of them",
    )
    period, budget = workload.eval_period_s, factor * workload.budget_s
    gap = float(np.median(np.diff(times))) if len(times) > 2 else period
    dense, sparse = gap < period / UNITS_APART or times[0] < FIRST_STEP_S, gap > UNITS_APART * period
    if dense or sparse or times[-1] > UNITS_APART * budget:
        raise errors.UserError(
            f"{path}:{lines[-1]}: score ends at {times[-1]:.6g} after {len(times)} evaluations; accepted: seconds, of "
            f"which {workload.name} has {period:g} between evaluations and {budget:g} in all; convert score to seconds, or "
            "name another --benchmark"
        )
    finite = np.isfinite(values)
    low, high = RANGES.get(workload.metric, (-math.inf, math.inf))
    refuse(
        finite & ((values < low) | (values > high)),
        f"validation/{workload.metric} is outside {low:g} to {high:g}; in another unit, such as per cent? convert it",
    )
    if workload.metric == "wer" and finite.sum() > 2 and values[finite].min() > WER_PERCENT:
        refuse(finite, f"validation/wer is never below {WER_PERCENT:g}: in per cent? convert it to errors per word")


def _hparams(path: pathlib.Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise errors.UserError(f"{path}: accepted: one JSON object of hyperparameters; {e}; {AGAIN}") from e


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


def _trial(key: scoring.Key, curve: scoring.Curve, info: config.LogWorkload, factor: float) -> scoring.Trial:
    """The row. AlgoPerf has no cost factor and no reference step."""
    at = curve.first_hit(info.target, info.direction)
    seconds, steps = curve.times["seconds"], curve.times["steps"]
    hit = at >= 0
    return scoring.Trial(
        *key,
        outcome="target_reached" if hit else "ended_early" if _early(curve, info, factor) else "budget_exhausted",
        hit=hit,
        reference_steps=math.inf,
        seconds=float(seconds[at]) if hit else math.inf,
        steps=float(steps[at]) if hit else math.inf,
        steps_x_cost=math.inf,
        charged_reference_steps=math.inf,
        charged_seconds=float(seconds[at]),
        charged_steps=float(steps[at]),
        charged_steps_x_cost=math.inf,
        evaluation=at,
    )


def _another_board(board: config.LogBenchmark, rows: list[scoring.Trial]) -> list[tuple[str, str]]:
    """A warning where the logs look like those of another ruleset or version. AlgoPerf's rule scores them all the same."""
    trials = collections.Counter(row.key[:3] for row in rows)
    studies = collections.Counter(where[:2] for where in trials)
    budget = {w.name: board.budget_factor * w.budget_s for w in board.workload}
    late = [row.charged_seconds / budget[row.workload] for row in rows if not row.hit]
    here = {row.workload for row in rows}
    nowhere = [w.name for w in board.workload if w.name not in here]
    reasons = []
    if (usual := np.median(list(trials.values()))) > board.trials:
        reasons.append(f"most studies have {usual:g} trials, the board has {board.trials}")
    if (usual := np.median(list(studies.values()))) > board.studies:
        reasons.append(f"most workloads have {usual:g} studies, the board has {board.studies}")
    if late and (usual := np.median(late)) > BEYOND:
        reasons.append(f"most trials that missed ran on to {usual:.2g} times the budget and more")
    if nowhere:
        reasons.append(f"no submission has {', '.join(nowhere)}")
    boards = ", ".join(config.log_boards())
    text = f"These may be logs of another board than {board.name}: {'; '.join(reasons)}. The boards are {boards}."
    return [(ANOTHER, text)] if reasons else []


def _early(curve: scoring.Curve, info: config.LogWorkload, factor: float) -> bool:
    """Whether a trial ended more than two evaluations before its budget: it gave up, crashed, or its file was cut."""
    return float(curve.times["seconds"][-1]) < factor * info.budget_s - 2 * info.eval_period_s


def _notes(
    board: config.LogBenchmark,
    studies: dict[str, list[int]],
    rows: list[scoring.Trial],
    absent: list[scoring.Key],
    curves: dict[scoring.Key, scoring.Curve],
) -> Iterator[tuple[str, str]]:
    if absent:
        cells = collections.Counter(key[:2] for key in absent)
        which = ", ".join(f"{name} on {workload} ({n})" for (name, workload), n in sorted(cells.items()))
        yield "no measurements", f"{len(absent)} trial folders have no evaluations: {which}."
    blank = collections.Counter(key[:2] for key, curve in curves.items() if not np.isfinite(curve.values).all())
    if blank:
        which = ", ".join(f"{name} on {workload} ({n})" for (name, workload), n in sorted(blank.items()))
        yield "not a number", f"Trials with validation metrics that are no numbers, which never hit: {which}."
    if board.reference is not None and board.reference not in studies:
        yield "no reference", f"Speed-ups are against {board.reference}, which is not among these submissions."
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
    early = collections.Counter((row.submission, row.workload) for row in rows if row.outcome == "ended_early")
    if early:
        which = ", ".join(f"{s} on {w} ({n})" for (s, w), n in sorted(early.items()))
        yield (
            "ended early",
            f"Trials that ended well before their budget without a hit: gave up, crashed, or the file is cut off: {which}.",
        )
    budget = {w.name: board.budget_factor * w.budget_s for w in board.workload}
    late = [row for row in rows if row.hit and row.seconds > budget[row.workload]]
    if late:
        yield (
            "after the budget",
            f"{len(late)} hits came after the budget; AlgoPerf's rule tests it only at evaluations and counts them.",
        )
