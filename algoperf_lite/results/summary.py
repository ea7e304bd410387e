"""`score --json`: scores, verdicts, cells, ablations and flags of a board as one dictionary."""

import collections
import dataclasses
import math
from collections.abc import Collection
from typing import Any

import numpy as np

import scoring
from algoperf_lite.results import flags
from algoperf_lite.results.table import Results

SCORE_VERSION = 1
COARSE = 0.05  # resolution (interval / time to target) above which a cell is flagged (P10)
PAIR_HEADLINE_BELOW = 4  # entrants (P18)
SHORT = {"seconds": "s"}  # of `units`, where it differs from the unit's name


def summarise(results: Results) -> dict[str, Any]:
    """Scores, verdicts, cells and flags of a board, JSON-ready: every number is finite or null.

    `score_vs_reference` is null unless the frozen reference time of every workload is known (P15). An unfinished board
    and a smoke run get their flags and nothing that could be taken for a result.
    """
    about, board = results.about, results.board
    out: dict[str, Any] = {
        "benchmark": about.name,
        "benchmark_version": about.version,
        "score_version": SCORE_VERSION,
        "status": "unfinished" if board.missing else "smoke" if about.smoke else "scored",
        "ruleset": about.ruleset,
        "rules": "algoperf" if about.kind == "algoperf" else "algoperf-lite",
        "entrants": list(board.entrants),
        "workloads": [workload.name for workload in board.workloads],
        "held_out": {w.name: w.held_out_of for w in board.workloads if w.held_out_of is not None},
        "studies": board.studies,
        "points": board.points,
        "estimand": scoring.ESTIMAND,
        "rank_estimand": scoring.RANK_ESTIMAND,
        "units": SHORT.get(board.unit, board.unit),
        "ranked_by": board.unit,
        "development": about.development,
        "extended": about.extended,
        "paired": about.paired,
        "headline": "pairs" if len(board.entrants) - len(about.twins) < PAIR_HEADLINE_BELOW else "scores",
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
        "speedups": None,
        "ablations": [],
        "tuning": {},
        "aa": [],
        "flags": [],
    }
    if not board.missing:
        board.require_complete()
        out |= _cells(results)
        out["aa"] = _controls(results)
        if not about.smoke:
            out["scores"] = _scores(results)
            out["pairs"] = _pairs(results)
            out["resolves"] = _resolves(out["pairs"])
            out["speedups"] = _speedups(results)
            out["ablations"] = [_plain(dataclasses.asdict(row)) for row in _ablations(results)]
            out["tuning"] = _tuning(board)
    out["flags"] = flags.flags(results, out)
    return out


# ------------------------------------------------------------------------------------------------- the parts


def _scores(results: Results) -> list[dict[str, Any]]:
    board, about = results.board, results.about
    times = scoring.study_times(board, board.unit)
    medians = scoring.medians(times, board.rules)
    values = scoring.board_scores(board)
    ranks = scoring.ranks(values)
    base = [i for i, workload in enumerate(board.workloads) if workload.held_out_of is None]
    frozen = np.array([workload.reference for workload in board.base])
    against = (lambda m: scoring.scores_vs_reference(m[..., base], frozen, board.rules)) if (frozen > 0).all() else None
    intervals = scoring.score_intervals(times, lambda m: scoring.scores(m, board.rules, board.held_out), against=against)
    beside = None if intervals is None else intervals.vs_reference
    studies = (~np.isnan(times)).sum(axis=-1).max(axis=-1)
    rows = [
        {
            "submission": name,
            "score": values[name],
            "ci95": None if intervals is None else intervals.score[i].tolist(),
            "rank": ranks[name],
            "rank_ci95": None if intervals is None else intervals.rank[i].tolist(),
            "score_vs_reference": None if against is None else float(against(medians)[i]),
            "score_vs_reference_ci95": None if beside is None else beside[i].tolist(),
            "n_studies": int(studies[i]),
            "untuned": name in about.untuned,
            "added": about.added.get(name),
        }
        for i, name in enumerate(board.entrants)
    ]
    return sorted(rows, key=lambda row: (-row["score"], row["submission"]))


def _speedups(results: Results) -> dict[str, Any] | None:
    """AlgoPerf's speed-ups: geometric mean over base workloads of time over the reference submission's."""
    board, name = results.board, results.about.reference
    if name is None:
        return None
    base = [i for i, workload in enumerate(board.workloads) if workload.held_out_of is None]
    medians = scoring.medians(scoring.study_times(board, board.unit), board.rules)[:, base]
    budgets = np.array([workload.budget for workload in board.base])
    found = scoring.speedups(medians, board.entrants.index(name), budgets)
    return {"reference": name, "time_ratio": dict(zip(board.entrants, map(_number, found.tolist()), strict=True))}


def _ablations(results: Results) -> list[scoring.Ablation]:
    return scoring.ablate(results.board, results.curves, one_machine=len(results.hosts) < 2)


def _tuning(board: scoring.Board) -> dict[str, Any]:
    """Tuning luck (P19), entrant -> workload -> ...; without cells whose studies have one trial.

    A study with fewer readable trials than the others (AlgoPerf's logs) is left out.
    """
    cells = collections.defaultdict(lambda: collections.defaultdict(list))
    for trial in board.trials:
        cells[trial.submission, trial.workload][trial.study].append(trial)
    out: dict[str, Any] = {}
    for (name, workload), studies in sorted(cells.items()):
        most = max(map(len, studies.values()))
        if most < 2:
            continue
        whole = [trials for trials in studies.values() if len(trials) == most]
        found = scoring.luck(
            np.array([[trial.time(board.unit) for trial in trials] for trials in whole]),
            np.array([[trial.charged(board.unit) for trial in trials] for trials in whole]),
        )
        out.setdefault(name, {})[workload] = {
            "trials": most,
            "studies": len(whole),
            "p_hit": _plain(found.hit.tolist()),
            "best_given_hit": _plain(found.best.tolist()),
            "cost": _plain(found.cost.tolist()),
        }
    return out


def _cells(results: Results) -> dict[str, Any]:
    """Medians by unit, and all that is known of a cell: entrant -> workload -> ..."""
    board = results.board
    unit = board.unit
    times = scoring.study_times(board, unit)
    seconds = scoring.medians(scoring.study_times(board, unit, "seconds"), board.rules)
    steps = scoring.medians(scoring.study_times(board, unit, "steps"), board.rules)
    medians = scoring.medians(times, board.rules)
    intervals = scoring.cell_intervals(times)
    best = scoring.winners(board, unit)
    misses = _best_of_misses(results, best.keys())
    out: dict[str, Any] = {
        key: {name: {} for name in board.entrants}
        for key in ("time_to_target", "time_to_target_s", "steps_to_target", "cells", "resolution")
    }
    by_cell = collections.defaultdict(list)
    for trial in board.trials:
        by_cell[trial.submission, trial.workload].append(trial)
    spaced = seconds if unit == "seconds" else steps  # what evaluations are spaced by
    for s, name in enumerate(board.entrants):
        for w, workload in enumerate(board.workloads):
            mine = [best[name, workload.name, j] for j in range(board.studies) if (name, workload.name, j) in best]
            trials = by_cell[name, workload.name]
            present = times[s, w][~np.isnan(times[s, w])]
            resolution = workload.interval / float(spaced[s, w]) if math.isfinite(spaced[s, w]) else None
            out["time_to_target"][name][workload.name] = _number(medians[s, w])
            out["time_to_target_s"][name][workload.name] = _number(seconds[s, w])
            out["steps_to_target"][name][workload.name] = _number(steps[s, w])
            out["resolution"][name][workload.name] = resolution
            low, high = (_number(v) for v in intervals[s, w])
            out["cells"][name][workload.name] = {
                "median": _number(medians[s, w]),
                "ci95": None if low is None else [low, high],
                "hits": len(mine),
                "studies": len(present),
                "trial_hits": sum(t.hit for t in trials),
                "trials": len(trials),
                "study_times": [_number(v) for v in present],
                "resolution": resolution,
                "coarse": resolution is not None and resolution > COARSE,
                "best": misses.get((name, workload.name)),
                "starred": sum(t.test_missed for t in mine),
                "noisy": sum(t.noisy for t in trials),
                "outcomes": dict(collections.Counter(t.outcome for t in trials)),
            }
    return out


def _best_of_misses(results: Results, hits: Collection[tuple[str, str, int]]) -> dict[tuple[str, str], float]:
    """Median over a cell's studies without a hit of the best validation metric that any of their trials has seen."""
    direction = {workload.name: workload.direction for workload in results.board.workloads}
    missed: dict[tuple[str, str], dict[int, float]] = collections.defaultdict(dict)
    for (name, workload, study, _), curve in results.curves.items():
        best, found = curve.best(direction[workload]), missed[name, workload]
        if math.isfinite(best) and (name, workload, study) not in hits:
            pick = max if direction[workload] == "max" else min
            found[study] = pick(found.get(study, best), best)
    return {cell: float(np.median(list(found.values()))) for cell, found in missed.items() if found}


def _pairs(results: Results) -> list[dict[str, Any]]:
    """Verdicts on every pair of different files; a twin is a control, not a claim, and would only cost power.

    Over the base workloads.
    """
    board, about = results.board, results.about
    base = [i for i, workload in enumerate(board.workloads) if workload.held_out_of is None]
    twins = {twin for _, twin in about.twins}
    field = [i for i, name in enumerate(board.entrants) if name not in twins]
    entrants = tuple(board.entrants[i] for i in field)
    times = scoring.study_times(board, board.unit)[field][:, base]
    drivers = collections.defaultdict(set)
    for key, run in results.runs.items():
        drivers[key[0]].add(run.spec.driver)
    spacing = scoring.spacing(board)[field][:, base]
    names = tuple(workload.name for workload in board.base)
    rows = []
    for found in scoring.verdicts(entrants, names, times, board.limits[base], about.paired, spacing):
        row = pair_row(found)
        if drivers[found.a] != drivers[found.b]:
            row["additions"].append("different drivers (dispatch against scan)")
        rows.append(row)
    return rows


def pair_row(verdict: scoring.Verdict) -> dict[str, Any]:
    """A verdict as JSON."""
    row = {key: _plain(value) for key, value in dataclasses.asdict(verdict).items()}
    return row | {"interval": None if row["interval"][0] is None else row["interval"]}


def _resolves(pairs: list[dict[str, Any]]) -> float | None:
    """Half-width of the typical pair's interval, as a relative difference: what this board can tell apart."""
    half = [math.sqrt(p["interval"][1] / p["interval"][0]) - 1 for p in pairs if p["interval"]]
    return float(np.median(half)) if half else None


def _controls(results: Results) -> list[dict[str, Any]]:
    rows = []
    if results.about.smoke:  # two evaluations per trial say nothing of times
        return rows
    for first, twin in results.about.twins:
        found = scoring.control(results.board, first, twin, _history(results, first), _history(results, twin))
        row = {key: _plain(value) for key, value in dataclasses.asdict(found).items()}
        row["interval"] = None if row["interval"][0] is None else row["interval"]
        rows.append(row)
    return rows


def _history(results: Results, entrant: str) -> dict[tuple[str, int, int], list[tuple[int, Any]]]:
    return {
        key[1:]: [(event.step, (event.train_loss, event.eval_train, event.validation)) for event in run.events]
        for key, run in results.runs.items()
        if key[0] == entrant
    }


# ----------------------------------------------------------------------------------------------- small things


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
