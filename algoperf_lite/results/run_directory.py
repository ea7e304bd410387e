"""From a run directory to `Results`: what must be there (the trials of benchmark.json) joined with what is there."""

import collections
import math
import pathlib
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

import scoring
from algoperf_lite import errors, records, search, storage
from algoperf_lite.results.table import About, Results, Run

REFERENCE = "nadamw"  # speed-ups are against the entrant of this name


def read(path: str | pathlib.Path) -> Results:
    """Read a run directory, finished or not.

    Trials are matched by content but for the package version: a board stays readable after an upgrade.
    """
    path = pathlib.Path(path)
    directory = storage.RunDirectory(path)
    benchmark = directory.benchmark()
    expected = {_key(spec): spec for spec in search.trials(benchmark)}
    runs: dict[scoring.Key, Run] = {}
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
    return Results(
        path,
        _about(benchmark, runs, strays),
        tabulate(benchmark, expected.keys(), runs),
        {key: _curve(benchmark, run) for key, run in runs.items() if run.events},
        {key: run.spec.hparams for key, run in runs.items()},
        benchmark,
        runs,
    )


def tabulate(
    benchmark: records.Benchmark, expected: Iterable[scoring.Key], runs: Mapping[scoring.Key, Run]
) -> scoring.Board:
    """The board: a row for every trial that has an outcome."""
    workloads = tuple(
        scoring.Workload(
            name=name,
            metric=info.metric,
            direction=info.direction,
            target=info.validation_target,
            budget=info.step_budget * benchmark.budget_factor,
            interval=info.interval,
            held_out_of=info.held_out_of,
            provisional=info.provisional,
            reference=info.reference_steps,
            metric_sd=info.seed_sd,
        )
        for name, info in benchmark.workloads.items()
    )
    rows = []
    for (entrant, workload, study, trial), run in sorted(runs.items()):
        if run.outcome is None:
            continue
        done, factor = run.outcome, _factor(benchmark, run.spec)
        hit = done.outcome == "target_reached"
        steps = done.step if hit and done.step is not None else done.last_step
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
                steps_x_cost=_or_inf(None if done.step is None else done.step * factor, hit),
                charged_reference_steps=done.charged_reference_steps,
                charged_seconds=done.charged_s,
                charged_steps=float(steps),
                charged_steps_x_cost=steps * factor,
                evaluation=next((i for i, event in enumerate(run.events) if hit and event.step == done.step), -1),
                test_missed=done.test_missed,
                noisy=done.noisy,
            )
        )
    return scoring.Board(
        name=benchmark.name,
        workloads=workloads,
        entrants=tuple(entrant.name for entrant in benchmark.entrants),
        studies=benchmark.studies,
        points=benchmark.points,
        trials=tuple(rows),
        expected=frozenset(expected),
    )


def _curve(benchmark: records.Benchmark, run: Run) -> scoring.Curve:
    """Reference steps of the events are provisional while a trial runs; they are scaled to the outcome's."""
    metric = benchmark.workloads[run.spec.workload].metric
    values = [event.validation.get(metric) for event in run.events]
    steps = np.array([event.step for event in run.events], float)
    reference_steps = np.array([event.reference_steps for event in run.events])
    if run.outcome is not None and run.events:
        stop = run.outcome.step if run.outcome.step is not None else run.outcome.last_step
        at = int(np.searchsorted(steps, stop))
        if at < len(steps) and reference_steps[at] > 0:
            reference_steps = reference_steps * (run.outcome.charged_reference_steps / reference_steps[at])
    return scoring.Curve(
        np.array([math.nan if value is None else value for value in values], float),
        {
            "reference_steps": reference_steps,
            "seconds": np.array([event.submission_time_s for event in run.events]),
            "steps": steps,
            "steps_x_cost": steps * _factor(benchmark, run.spec),
        },
    )


def _factor(benchmark: records.Benchmark, spec: records.TrialSpec) -> float:
    entrant = next(entrant for entrant in benchmark.entrants if entrant.name == spec.entrant)
    return benchmark.costs[spec.entrant][spec.workload][search.static_key(entrant, spec.hparams)].factor


def _about(benchmark: records.Benchmark, runs: Mapping[scoring.Key, Run], strays: int) -> About:
    return About(
        kind="run",
        name=benchmark.name,
        version=benchmark.version,
        ruleset=benchmark.ruleset,
        reference=REFERENCE if any(entrant.name == REFERENCE for entrant in benchmark.entrants) else None,
        smoke=benchmark.smoke,
        development=benchmark.development,
        extended=bool(benchmark.extensions),
        paired=benchmark.paired,
        files={entrant.name: entrant.sha256 for entrant in benchmark.entrants},
        untuned=frozenset(entrant.name for entrant in benchmark.entrants if entrant.untuned),
        added={entrant.name: entrant.added for entrant in benchmark.entrants if entrant.added},
        notes=tuple(_notes(benchmark, runs, strays)),
    )


def _notes(benchmark: records.Benchmark, runs: Mapping[scoring.Key, Run], strays: int) -> Iterable[tuple[str, str]]:
    """What only the records of a run can tell."""
    if benchmark.development:
        yield (
            "development",
            f"Board seed {benchmark.seed} is an author seed (0-999): submissions may have been developed on it. "
            "A published board draws its seed after the submissions are frozen.",
        )
    if benchmark.extensions:
        names = ", ".join(name for extension in benchmark.extensions for name in extension.entrants) or "studies only"
        yield "extended", f"Entrants or studies were added after the first trial ({names}); dates are below."
    stepwise = [entrant.name for entrant in benchmark.entrants if entrant.driver != "scan"]
    if stepwise:
        yield (
            "dispatch",
            f"{', '.join(stepwise)}: submission files of AlgoPerf's, run step by step; the reference that times them is "
            "run in the same way, the scanned entrants' is not.",
        )
    hosts = {run.outcome.host for run in runs.values() if run.outcome}
    if len(hosts) > 1:
        yield "hosts", f"Trials ran on {len(hosts)} kinds of machine: compare reference steps, never seconds."
    versions = sorted({run.spec.package_version for run in runs.values()})
    if len(versions) > 1:
        yield "versions", f"Trials were run by several package versions: {', '.join(versions)}."
    if strays:
        yield "strays", f"{strays} trial folders do not belong to this benchmark and were ignored."
    crashed = collections.Counter(
        (key[0], run.outcome.outcome) for key, run in runs.items() if run.outcome and run.outcome.outcome in records.FAILED
    )
    for (name, outcome), n in sorted(crashed.items()):
        yield "failed", f"{name}: {errors.counted(n, 'trial')} ended with '{outcome.replace('_', ' ')}', a miss each."
    scanned = [run.outcome for run in runs.values() if run.spec.driver == "scan" and run.outcome]
    compiled = sum(outcome.compilations_while_charged > 0 for outcome in scanned)
    if compiled:
        yield "compiled", f"{errors.counted(compiled, 'trial')} compiled something on the clock: times may be too long."


def _key(spec: records.TrialSpec) -> scoring.Key:
    return (spec.entrant, spec.workload, spec.study, spec.trial)


def _or_inf(value: float | None, hit: bool) -> float:
    return float(value) if hit and value is not None else math.inf
