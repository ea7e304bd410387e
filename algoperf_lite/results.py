"""From a run directory to one results table, and from the table to `score --json`.

`read` joins what must be there (the trials of benchmark.json) with what is there (outcome.json by trial); `summarise`
turns the table into the dictionary that the CLI prints and the report shows. Nothing here imports JAX.
"""

import collections
import dataclasses
import math
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np

import scoring
from algoperf_lite import records, search

SCORE_VERSION = 1
COARSE = 0.05  # resolution (interval / time to target) above which a cell is flagged (P10)
PAIR_HEADLINE_BELOW = 4  # entrants (P18)

Key = tuple[str, str, int, int]  # entrant, workload, study, trial


@dataclasses.dataclass(frozen=True)
class Run:
    """One expected trial as it stands on disk; `outcome` is None while it is not done."""

    spec: records.TrialSpec
    manifest: dict[str, Any]
    events: tuple[records.Event, ...]
    outcome: records.Outcome | None


@dataclasses.dataclass(frozen=True)
class Results:
    """A run directory in memory. `runs` has the expected trials that were begun, `strays` counts all other folders."""

    path: pathlib.Path
    benchmark: records.Benchmark
    board: scoring.Board
    runs: dict[Key, Run]
    strays: int = 0

    @property
    def hosts(self) -> list[str]:
        """Fingerprints of the machines that the outcomes come from."""
        return sorted({run.outcome.host for run in self.runs.values() if run.outcome})


def read(path: str | pathlib.Path) -> Results:
    """Read a run directory, finished or not.

    Trials are matched by content but for the package version: a board stays readable after an upgrade.
    """
    path = pathlib.Path(path)
    directory = records.RunDirectory(path)
    benchmark = directory.benchmark()
    expected = {_key(spec): spec for spec in search.trials(benchmark)}
    runs: dict[Key, Run] = {}
    strays = 0
    for id, spec in sorted(directory.trial_specs().items()):
        wanted = expected.get(_key(spec))
        if wanted is None or msgspec.structs.replace(wanted, package_version=spec.package_version) != spec:
            strays += 1
            continue
        run = Run(spec, directory.manifest(id), tuple(directory.events(id)), directory.outcome(id))
        # The same trial under two package versions: a finished one counts, of two the present version's.
        before = runs.get(_key(spec))
        if before is None or (run.outcome is not None, id == wanted.id) > (before.outcome is not None, False):
            runs[_key(spec)] = run
    return Results(path, benchmark, tabulate(benchmark, expected.keys(), runs), runs, strays)


def tabulate(benchmark: records.Benchmark, expected: Iterable[Key], runs: Mapping[Key, Run]) -> scoring.Board:
    """The board: a row for every trial that has an outcome."""
    entrants = {entrant.name: entrant for entrant in benchmark.entrants}
    workloads = tuple(
        scoring.Workload(
            name=name,
            metric=info.metric,
            direction=info.direction,
            target=info.validation_target,
            budget=info.step_budget * benchmark.budget_factor,
            interval_steps=info.step_budget // info.evaluations,
            provisional=info.provisional,
        )
        for name, info in benchmark.workloads.items()
    )
    intervals = {workload.name: workload.interval_steps for workload in workloads}
    rows = []
    for (entrant, workload, study, trial), run in sorted(runs.items()):
        if run.outcome is None:
            continue
        done = run.outcome
        cost = benchmark.costs[entrant][workload][search.static_key(entrants[entrant], run.spec.hparams)]
        hit = done.outcome == "target_reached"
        rows.append(
            scoring.Trial(
                submission=entrant,
                workload=workload,
                study=study,
                trial=trial,
                outcome=done.outcome,
                hit=hit,
                reference_steps=_or_inf(done.reference_steps, hit),
                seconds=_or_inf(done.time_s, hit),
                steps=_or_inf(done.step, hit),
                steps_x_cost=_or_inf(None if done.step is None else done.step * cost.factor, hit),
                charged_reference_steps=done.charged_reference_steps,
                charged_seconds=done.charged_s,
                interval_steps=intervals[workload],
                test_missed=done.test_missed,
                noisy=done.noisy,
            )
        )
    return scoring.Board(
        name=benchmark.name,
        workloads=workloads,
        entrants=tuple(entrants),
        studies=benchmark.studies,
        points=benchmark.points,
        trials=tuple(rows),
        expected=frozenset(expected),
    )


def score(path: str | pathlib.Path) -> dict[str, Any]:
    """`score --json` of a run directory. See `summarise`."""
    return summarise(read(path))


def summarise(results: Results) -> dict[str, Any]:
    """Scores, verdicts, cells and flags of a board, JSON-ready: every number is finite or null.

    `score_vs_reference` is null unless the frozen reference time of every workload is known (P15). An unfinished board
    and a smoke run get their flags and nothing that could be taken for a result.
    """
    benchmark, board = results.benchmark, results.board
    out: dict[str, Any] = {
        "benchmark": benchmark.name,
        "benchmark_version": benchmark.version,
        "score_version": SCORE_VERSION,
        "status": "unfinished" if board.missing else "smoke" if benchmark.smoke else "scored",
        "ruleset": benchmark.ruleset,
        "entrants": list(board.entrants),
        "workloads": [workload.name for workload in board.workloads],
        "studies": board.studies,
        "points": board.points,
        "estimand": scoring.ESTIMAND,
        "units": "steps_x_cost" if board.steps_only else "reference_steps",
        "ranked_by": board.unit,
        "development": benchmark.development,
        "extended": bool(benchmark.extensions),
        "paired": benchmark.paired,
        "headline": "pairs" if len({e.sha256 for e in benchmark.entrants}) < PAIR_HEADLINE_BELOW else "scores",
        "hosts": results.hosts,
        "missing": ["/".join(map(str, key)) for key in board.missing],
        "scores": [],
        "pairs": [],
        "resolves": None,
        "time_to_target": {},
        "time_to_target_s": {},
        "steps_to_target": {},
        "cells": {},
        "resolution": {},
        "aa": [],
        "flags": [],
    }
    if not board.missing:
        board.require_complete()
        out |= _cells(board)
        out["aa"] = _controls(results)
        if not benchmark.smoke:
            out["scores"] = _scores(board, benchmark)
            out["pairs"] = _pairs(results)
            out["resolves"] = _resolves(out["pairs"])
    out["flags"] = _flags(results, out)
    return out


# ------------------------------------------------------------------------------------------------- the parts


def _scores(board: scoring.Board, benchmark: records.Benchmark) -> list[dict[str, Any]]:
    times = scoring.study_times(board, board.unit)
    medians = scoring.medians(times)
    frozen = np.array([benchmark.workloads[workload.name].reference_steps for workload in board.workloads])
    frozen = frozen if (frozen > 0).all() else None
    values = scoring.scores(medians)
    against = None if frozen is None else scoring.scores_vs_reference(medians, frozen)
    intervals = scoring.score_intervals(times, frozen)
    rows = [
        {
            "submission": entrant.name,
            "score": float(values[i]),
            "ci95": None if intervals is None else intervals.score[i].tolist(),
            "score_vs_reference": None if against is None else float(against[i]),
            "score_vs_reference_ci95": None
            if intervals is None or intervals.vs_reference is None
            else intervals.vs_reference[i].tolist(),
            "n_studies": board.studies,
            "untuned": entrant.untuned,
            "added": entrant.added,
        }
        for i, entrant in enumerate(benchmark.entrants)
    ]
    return sorted(rows, key=lambda row: (-row["score"], row["submission"]))


def _cells(board: scoring.Board) -> dict[str, Any]:
    """Medians by unit, and all that is known of a cell: entrant -> workload -> ..."""
    unit = board.unit
    times = scoring.study_times(board, unit)
    seconds = scoring.medians(scoring.study_times(board, unit, "seconds"))
    steps = scoring.medians(scoring.study_times(board, unit, "steps"))
    medians = scoring.medians(times)
    intervals = scoring.cell_intervals(times)
    best = scoring.winners(board, unit)
    out: dict[str, Any] = {
        key: {name: {} for name in board.entrants}
        for key in ("time_to_target", "time_to_target_s", "steps_to_target", "cells", "resolution")
    }
    for s, name in enumerate(board.entrants):
        for w, workload in enumerate(board.workloads):
            mine = [best[name, workload.name, j] for j in range(board.studies) if (name, workload.name, j) in best]
            trials = [t for t in board.trials if (t.submission, t.workload) == (name, workload.name)]
            resolution = workload.interval_steps / float(steps[s, w]) if math.isfinite(steps[s, w]) else None
            out["time_to_target"][name][workload.name] = _number(medians[s, w])
            out["time_to_target_s"][name][workload.name] = _number(seconds[s, w])
            out["steps_to_target"][name][workload.name] = _number(steps[s, w])
            out["resolution"][name][workload.name] = resolution
            low, high = (_number(v) for v in intervals[s, w])
            out["cells"][name][workload.name] = {
                "median": _number(medians[s, w]),
                "ci95": None if low is None else [low, high],
                "hits": len(mine),
                "studies": board.studies,
                "trial_hits": sum(t.hit for t in trials),
                "trials": len(trials),
                "study_times": [_number(v) for v in times[s, w]],
                "resolution": resolution,
                "coarse": resolution is not None and resolution > COARSE,
                "starred": sum(t.test_missed for t in mine),
                "noisy": sum(t.noisy for t in trials),
                "outcomes": dict(collections.Counter(t.outcome for t in trials)),
            }
    return out


def _pairs(results: Results) -> list[dict[str, Any]]:
    """Verdicts on every pair of different files; a twin is a control, not a claim, and would only cost power."""
    board, benchmark = results.board, results.benchmark
    names = tuple(workload.name for workload in board.workloads)
    twins = {twin for _, twin in _twins(benchmark)}
    field = [i for i, name in enumerate(board.entrants) if name not in twins]
    entrants = tuple(board.entrants[i] for i in field)
    times = scoring.study_times(board, board.unit)[field]
    drivers = collections.defaultdict(set)
    for key, run in results.runs.items():
        drivers[key[0]].add(run.spec.driver)
    intervals = np.array([workload.interval_steps for workload in board.workloads], float)
    rows = []
    for found in scoring.verdicts(entrants, names, times, board.limits, benchmark.paired, intervals):
        row = {key: _plain(value) for key, value in dataclasses.asdict(found).items()}
        row["interval"] = None if row["interval"][0] is None else row["interval"]
        if drivers[found.a] != drivers[found.b]:
            row["additions"].append("different drivers (dispatch against scan)")
        rows.append(row)
    return rows


def _resolves(pairs: list[dict[str, Any]]) -> float | None:
    """Half-width of the typical pair's interval, as a relative difference: what this board can tell apart."""
    half = [math.sqrt(p["interval"][1] / p["interval"][0]) - 1 for p in pairs if p["interval"]]
    return float(np.median(half)) if half else None


def _controls(results: Results) -> list[dict[str, Any]]:
    rows = []
    if results.benchmark.smoke:  # two evaluations per trial say nothing of times
        return rows
    for first, twin in _twins(results.benchmark):
        found = scoring.control(results.board, first, twin, _history(results, first), _history(results, twin))
        row = {key: _plain(value) for key, value in dataclasses.asdict(found).items()}
        row["interval"] = None if row["interval"][0] is None else row["interval"]
        rows.append(row)
    return rows


def _twins(benchmark: records.Benchmark) -> list[tuple[str, str]]:
    """(first, twin): entrants of one file, hence of the same points. The A/A controls."""
    first: dict[str, str] = {}
    pairs = [(first.setdefault(entrant.sha256, entrant.name), entrant.name) for entrant in benchmark.entrants]
    return [(one, other) for one, other in pairs if one != other]


def _history(results: Results, entrant: str) -> dict[tuple[str, int, int], list[tuple[int, Any]]]:
    return {
        key[1:]: [(event.step, (event.train_loss, event.eval_train, event.validation)) for event in run.events]
        for key, run in results.runs.items()
        if key[0] == entrant
    }


def _flags(results: Results, out: dict[str, Any]) -> list[dict[str, str]]:
    """What a reader must know before believing a number: kind, and one plain sentence or two."""
    benchmark, board = results.benchmark, results.board
    found: list[tuple[str, str]] = []
    if benchmark.smoke:
        found.append(("smoke", "A smoke run: everything ran. No cost was measured and nothing is ranked."))
    if board.missing:
        cells = collections.Counter((key[0], key[1]) for key in board.missing)
        where = "; ".join(f"{name} on {workload} ({n})" for (name, workload), n in sorted(cells.items()))
        found.append(
            (
                "unfinished",
                f"{len(board.missing)} of {len(board.expected)} trials are missing: {where}. "
                "An unfinished board gets no score; the same `run` command goes on.",
            )
        )
    if benchmark.development:
        found.append(
            (
                "development",
                f"Board seed {benchmark.seed} is an author seed (0-999): submissions may have been developed on it. "
                "A published board draws its seed after the submissions are frozen.",
            )
        )
    if benchmark.extensions:
        names = ", ".join(name for extension in benchmark.extensions for name in extension.entrants) or "studies only"
        found.append(("extended", f"Entrants or studies were added after the first trial ({names}); dates are below."))
    if board.studies == 1:
        found.append(("one study", "One study has no noise estimate: every verdict is 'not separable'."))
    elif not scoring.last_look(board.studies):
        found.append(("few studies", f"{board.studies} studies are below the first look at 3: no verdict yet."))
    if board.steps_only:
        found.append(
            (
                "steps only",
                "Over 10 % of the trials ran while the machine's speed drifted by more than 15 %: times are not to be "
                "trusted, so the board ranks by optimizer steps x cost factor.",
            )
        )
    noisy = sum(trial.noisy for trial in board.trials)
    if noisy:
        found.append(("noisy", f"{noisy} of {len(board.trials)} trials saw the machine's speed drift by over 15 %."))
    if len(results.hosts) > 1:
        found.append(
            ("hosts", f"Trials ran on {len(results.hosts)} kinds of machine: compare reference steps, never seconds.")
        )
    versions = sorted({run.spec.package_version for run in results.runs.values()})
    if len(versions) > 1:
        found.append(("versions", f"Trials were run by several package versions: {', '.join(versions)}."))
    if results.strays:
        found.append(("strays", f"{results.strays} trial folders do not belong to this benchmark and were ignored."))
    provisional = [workload.name for workload in board.workloads if workload.provisional]
    if provisional:
        found.append(
            ("provisional targets", f"{', '.join(provisional)}: not yet confirmed by the target procedure; may change.")
        )
    cells = [(name, w, cell) for name, row in out["cells"].items() for w, cell in row.items()]
    for name, workload, cell in cells:
        if cell["starred"]:
            found.append(
                (
                    "starred",
                    f"{name} on {workload}: {cell['starred']} of {cell['hits']} hits (*) met the validation target but "
                    "missed the test target by over 2 standard errors.",
                )
            )
    coarse = collections.defaultdict(list)
    for name, workload, cell in cells:
        if cell["coarse"]:
            coarse[workload].append(f"{name} {cell['resolution']:.1%}")
    for workload, who in coarse.items():
        found.append(
            (
                "coarse",
                f"{workload}: the time between two evaluations is over 5 % of the time to target ({', '.join(who)}); "
                "smaller differences cannot show.",
            )
        )
    crashed = collections.Counter(
        (trial.submission, trial.outcome) for trial in board.trials if trial.outcome in records.FAILED
    )
    for (name, outcome), n in sorted(crashed.items()):
        found.append(("failed", f"{name}: {n} trials ended with '{outcome.replace('_', ' ')}' and count as misses."))
    compiled = sum(run.outcome.compilations_while_charged > 0 for run in results.runs.values() if run.outcome)
    if compiled:
        found.append(("compiled", f"{compiled} trials compiled something on the clock: their times are too long."))
    for row in out["aa"]:
        if not row["passed"]:
            found.append(("A/A failed", f"{row['a']} and {row['b']} are one file and did not behave alike: see A/A."))
    if out["status"] == "scored" and not out["aa"]:
        found.append(("no A/A", "No entrant runs twice, so the harness's own error is not shown on this board."))
    untuned = [entrant.name for entrant in benchmark.entrants if entrant.untuned]
    if untuned:
        found.append(("untuned", f"{', '.join(untuned)}: no search space; one default point per study against five."))
    return [{"kind": kind, "text": text} for kind, text in found]


# ----------------------------------------------------------------------------------------------- small things


def _key(spec: records.TrialSpec) -> Key:
    return (spec.entrant, spec.workload, spec.study, spec.trial)


def _or_inf(value: float | None, hit: bool) -> float:
    return float(value) if hit and value is not None else math.inf


def _number(value: float) -> float | None:
    """JSON has no infinities: null."""
    return float(value) if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """A value of scoring as JSON: lists for tuples, null for numbers that are none."""
    if isinstance(value, float | np.floating):
        return _number(float(value))
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def median_run(runs: list[Run], metric: str, maximise: bool) -> Run | None:
    """Of each study's best trial (fastest hit, else best metric) the middle one, misses last: a run that took place,
    where an average of curves that stop at different times would be nobody's."""

    def rank(run: Run) -> tuple[float, float]:
        done = run.outcome
        if done and done.reference_steps is not None:
            return (done.reference_steps, 0.0)
        values = [v for event in run.events if (v := event.validation.get(metric)) is not None]
        best = (max if maximise else min)(values, default=-np.inf if maximise else np.inf)
        return (np.inf, -best if maximise else best)

    winners: dict[int, Run] = {}
    for run in sorted(runs, key=rank, reverse=True):
        winners[run.spec.study] = run
    ordered = sorted(winners.values(), key=rank)
    return ordered[(len(ordered) - 1) // 2] if ordered else None
