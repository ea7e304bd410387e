"""What a run would take, before it is spent: trials, steps, FLOPs, memory, time and disk.

Programs are compiled and a few chunks of each are timed. Nothing is written to the run directory, and no cost factor is
settled.
"""

import math
import pathlib
import time
import weakref
from collections.abc import Mapping, MutableMapping
from typing import Any

import jax
import msgspec
import numpy as np

from algoperf_lite import cost, engine, flops, records, runner, search, trial
from algoperf_lite.records import Benchmark, Struct, TrialSpec
from algoperf_lite.training import tree_bytes

TIMED_CHUNKS = 3
TIMED_S = 5.0  # no further chunk is timed after as many seconds


# ------------------------------------------------------------------------------------------------------ results


class Program(Struct, frozen=True, kw_only=True):
    """One compiled training program on this machine."""

    parameters: int
    state_ratio: float | None  # bytes of the optimizer's state over the parameters'; None for a file that steps by itself
    flops: float | None  # per step over all devices: products of matrices and convolutions; None as above
    flops_at_least: bool  # a loop of unknown length was counted once
    memory_bytes: int | None  # per device, the training data included; an upper bound on a CPU
    checkpoint_bytes: int
    step_s: float
    evaluation_s: float  # one evaluation of a trial, test split left out
    test_s: float
    relative_cost: float  # the directory's cost factor, else the ratio of the step times found here


class Row(Struct, frozen=True, kw_only=True):
    """What is missing of one (workload, entrant, static hyperparameters)."""

    workload: str
    entrant: str
    static: str  # hyperparameters that are compiled in, as JSON
    trials: int
    step_cap: int  # at cost factor 1 where the directory has none yet
    evaluations: int  # at most, per trial
    program: Program | None  # None where compiling ran out of memory
    set_up_s: float  # data and compilation
    cost_s: float  # measuring the cost factor
    trial_s: float  # at most: no trial reaches the target
    likely_trial_s: float | None  # every trial takes the reference's frozen time to the target; None where unknown
    trial_bytes: int  # files of a trial that ran to its cap


class DryRun(Struct, frozen=True, kw_only=True):
    """All rows, with the sums over them."""

    benchmark: str
    version: int
    ruleset: str
    seed: int
    smoke: bool
    platform: str
    devices: int
    rows: list[Row]
    compile_cache_bytes: int  # as it now is, shared by all boards

    @property
    def trials(self) -> int:
        """Trials to run."""
        return sum(row.trials for row in self.rows)

    @property
    def preparation_s(self) -> float:
        """Seconds before the first trial."""
        return sum(row.set_up_s + row.cost_s for row in self.rows)

    @property
    def at_most_s(self) -> float:
        """Seconds where no trial reaches its target."""
        return self.preparation_s + sum(row.trials * row.trial_s for row in self.rows)

    @property
    def likely_s(self) -> float | None:
        """Seconds where all trials are as quick as the reference; those of unknown length count to their cap."""
        if all(row.likely_trial_s is None for row in self.rows):
            return None
        likely = (row.trial_s if row.likely_trial_s is None else row.likely_trial_s for row in self.rows)
        return self.preparation_s + sum(row.trials * s for row, s in zip(self.rows, likely, strict=True))

    @property
    def disk_bytes(self) -> int:
        """What stays in the run directory, the report left out."""
        return sum(row.trials * row.trial_bytes for row in self.rows)

    @property
    def checkpoint_bytes(self) -> int:
        """The largest checkpoint; one lies there while a trial runs, two while it is saved."""
        return max((row.program.checkpoint_bytes for row in self.rows if row.program), default=0)

    def totals(self) -> dict[str, Any]:
        """The sums by name."""
        names = ("trials", "preparation_s", "at_most_s", "likely_s", "disk_bytes", "checkpoint_bytes")
        return {name: getattr(self, name) for name in names}


# ----------------------------------------------------------------------------------------------------- gathering


class DryRunner(runner.Runner):
    """A `Runner` that tells what it would do."""

    @property
    def ranks(self) -> bool:
        """Never: nothing is run."""
        return False

    def gather(self) -> DryRun:
        """Compiles and times what the missing trials need.

        Raises:
          UserError: as `Runner.resolve`.
        """
        # Weak, since programs are put away where too many are loaded, and what comes after them is not they.
        self._step_s: MutableMapping[engine.Programs, float] = weakref.WeakKeyDictionary()
        self._evaluations: MutableMapping[engine.Programs, tuple[float, float, list[Any]]] = weakref.WeakKeyDictionary()
        benchmark = self.settle()
        assumed = self._without_cost(benchmark)
        benchmark = self._assume(benchmark, assumed)
        unmeasured = {(name, entrant.name, key) for name, entrant, key, _ in assumed}
        entrants = {e.name: e for e in benchmark.entrants}
        groups: dict[tuple[str, str, str], list[TrialSpec]] = {}
        for one in self.missing(benchmark):
            key = search.static_key(entrants[one.entrant], one.hparams)
            groups.setdefault((one.workload, one.entrant, key), []).append(one)
        order, rows = list(benchmark.workloads), []
        for group, specs in sorted(groups.items(), key=lambda item: order.index(item[0][0])):
            rows.append(self._row(benchmark, specs, entrants[group[1]].source, group[2], group in unmeasured))
            self.tell("row", workload=group[0], entrant=group[1], done=len(rows), total=len(groups))
        cache = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]: defined at run time
        files = [p for p in pathlib.Path(cache).rglob("*") if p.is_file()] if cache else []
        return DryRun(
            benchmark=benchmark.name,
            version=benchmark.version,
            ruleset=benchmark.ruleset,
            seed=benchmark.seed,
            smoke=benchmark.smoke,
            platform=jax.default_backend(),
            devices=self._compiled.mesh.size,
            rows=rows,
            compile_cache_bytes=sum(p.stat().st_size for p in files),
        )

    def _assume(self, benchmark: Benchmark, without: list[tuple[str, records.Entrant, str, Any]]) -> Benchmark:
        """The benchmark with cost factor 1 where none is known, so that its trials can be told."""
        costs = {e: {w: dict(row) for w, row in rows.items()} for e, rows in benchmark.costs.items()}
        for name, entrant, key, _ in without:
            one = cost.unmeasured(benchmark, benchmark.workloads[name])
            costs.setdefault(entrant.name, {}).setdefault(name, {})[key] = one
        return msgspec.structs.replace(benchmark, costs=costs)

    def _row(self, benchmark: Benchmark, specs: list[TrialSpec], source: str, key: str, unmeasured: bool) -> Row:
        first = specs[0]
        info = benchmark.workloads[first.workload]
        row = Row(
            workload=first.workload,
            entrant=first.entrant,
            static=key,
            trials=len(specs),
            step_cap=first.step_cap,
            evaluations=0,
            program=None,
            set_up_s=0.0,
            cost_s=0.0,
            trial_s=0.0,
            likely_trial_s=None,
            trial_bytes=_trial_bytes(first, benchmark.manifest, [], 0, 0),
        )
        began = time.perf_counter()
        try:
            programs = self._compiled.programs(first.workload, info, first.entrant, source, first.hparams)
            reference = self._compiled.reference(first.workload, info, first.driver)
            set_up_s = time.perf_counter() - began
            self.tell("time", workload=first.workload, entrant=first.entrant)
            step_s, reference_s = self._timed(programs, first.hparams), self._timed(reference, info.reference)
            evaluation_s, test_s, metrics = self._evaluated(programs, first.hparams)
        except Exception as e:
            if not trial.is_out_of_memory(e):
                raise
            return msgspec.structs.replace(row, set_up_s=time.perf_counter() - began)
        is_reference = programs.submission.sha256 == reference.submission.sha256
        interval, cap, cost_s = info.interval, first.step_cap, 0.0
        factor = 1.0 if is_reference or benchmark.smoke else step_s / reference_s
        if not unmeasured:
            factor = benchmark.costs[first.entrant][first.workload][key].factor
        elif not benchmark.smoke:
            cap = _cap(info, benchmark.budget_factor, factor)
            cost_s = _cost_s(programs, interval, step_s, reference_s, is_reference)
        timed = not benchmark.smoke
        block_s = (trial.REFERENCE_TIMINGS if timed else 1) * interval * reference_s

        def trial_s(intervals: int) -> float:
            seconds = intervals * (interval * step_s + evaluation_s) + test_s
            seconds += reference_blocks(intervals, timed) * block_s
            every = self.request.checkpoint_every_s
            checkpoints = min(int(seconds / every), intervals) if every > 0 else intervals
            checkpoints *= programs.resumable
            return seconds + checkpoints * block_s  # each is preceded by a block of the reference

        likely = None
        if info.reference_steps and not benchmark.run_past:
            to_target = max(math.ceil(info.reference_steps / factor / interval - 1e-9), 1)
            likely = trial_s(min(to_target, cap // interval))
        evaluations = cap // interval
        files = _trial_bytes(first, benchmark.manifest, metrics, evaluations, reference_blocks(evaluations, timed))
        return msgspec.structs.replace(
            row,
            evaluations=evaluations,
            program=_program(
                programs,
                first.hparams,
                step_s=step_s,
                evaluation_s=evaluation_s,
                test_s=test_s,
                relative_cost=factor,
            ),
            set_up_s=set_up_s,
            cost_s=cost_s,
            trial_s=trial_s(evaluations),
            likely_trial_s=likely,
            trial_bytes=files,
        )

    def _timed(self, programs: engine.Programs, hparams: Mapping[str, Any]) -> float:
        """Median seconds of a step; programs are warm from their compilation (of a smoke run: the median is)."""
        if programs not in self._step_s:
            repeated, chunks = engine.Repeated(programs, hparams, self.clock.charge), []
            while len(chunks) < TIMED_CHUNKS and sum(chunks) < TIMED_S:
                chunks.append(repeated.seconds())
            self._step_s[programs] = float(np.median(chunks)) / programs.bench.workload.interval
        return self._step_s[programs]

    def _evaluated(self, programs: engine.Programs, hparams: Mapping[str, Any]) -> tuple[float, float, list[Any]]:
        """(seconds of an evaluation, of the test split, metrics by split), at the initial parameters."""
        if programs not in self._evaluations:
            key, number = programs.key(0), programs.step_number(0)
            carry = programs.fresh(key, programs.hyper(hparams))
            (params, model_state), prepared_s = self.clock.charge(engine.evaluation_state, programs, carry, key, number)
            metrics, seconds = [], []
            for split in engine.SPLITS:
                began = time.perf_counter()
                metrics.append(programs.bench.metrics(params, model_state, split))
                seconds.append(time.perf_counter() - began)
            self._evaluations[programs] = (prepared_s + seconds[0] + seconds[1], seconds[2], metrics)
        return self._evaluations[programs]


def _program(programs: engine.Programs, hparams: Mapping[str, Any], **times: float) -> Program:
    carry = programs.carry_abstract
    if carry is None:
        return Program(
            parameters=sum(leaf.size for leaf in jax.tree.leaves(programs.bench.problem.shapes)),
            state_ratio=None,
            flops=None,
            flops_at_least=False,
            memory_bytes=None,
            checkpoint_bytes=0,
            **times,
        )
    operations, at_least = flops.step_flops(programs.bench, programs.submission, hparams)
    return Program(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(carry.params)),
        state_ratio=tree_bytes(carry.opt_state) / tree_bytes(carry.params),
        flops=operations,
        flops_at_least=at_least,
        memory_bytes=program_bytes(programs.chunk),
        checkpoint_bytes=tree_bytes(carry),
        **times,
    )


def program_bytes(compiled: Any) -> int | None:
    """Memory of a compiled program per device; None where the backend does not say.

    On a CPU an upper bound: `peak_memory_in_bytes` leaves temporaries out there.
    """
    m = compiled.memory_analysis()
    if m is None:
        return None
    return m.argument_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes + m.temp_size_in_bytes


def reference_blocks(intervals: int, timed: bool = True) -> int:
    """Blocks of reference timings in a trial of so many intervals, those before checkpoints left out (P5)."""
    within = 1 + sum(i % trial.REFERENCE_EVERY == trial.REFERENCE_FIRST for i in range(1, intervals))
    return max(within + 1, trial.MIN_BLOCKS if timed else 1)


def _cap(info: records.WorkloadInfo, budget_factor: float, factor: float) -> int:
    return search.step_cap(info.step_budget, info.interval, budget_factor, factor)


def _cost_s(programs: engine.Programs, interval: int, step_s: float, reference_s: float, is_reference: bool) -> float:
    """Seconds in which `cost.cost` measures a factor."""
    if is_reference:
        return 3 * interval * reference_s
    period = programs.submission.PERIOD
    blocks = 5 if period > 25 else cost.BLOCKS
    chunks = math.ceil(max(cost.MIN_STEPS, period) / interval)
    return (2 * blocks * chunks + 1) * interval * (step_s + reference_s)


def _trial_bytes(one: TrialSpec, manifest: dict[str, Any], metrics: list[Any], evaluations: int, blocks: int) -> int:
    """Size of a trial's files, from samples of each with numbers of usual length."""
    number, host = 1 / 3, "0" * 12
    identity = {**msgspec.to_builtins(one), "manifest": {**manifest, "benchmark_sha256": "0" * 64}}
    attempt = records.Attempt(started=records.utc(), step=0, lost_s=0.0, host=host, events_sha256="0" * 64)
    event = records.Event(
        step=one.step_cap,
        examples=100 * one.step_cap,
        **dict.fromkeys(("train_time_s", "eval_charge_s", "submission_time_s", "reference_steps"), number),
        eval_time_s=number,
        train_loss=number,
        eval_train=_filled(metrics[0], number) if metrics else {},
        validation=_filled(metrics[1], number) if metrics else {},
    )
    outcome = records.Outcome(
        outcome="budget_exhausted",
        step=one.step_cap,
        last_step=one.step_cap,
        **dict.fromkeys(("time_s", "reference_steps", "charged_s", "charged_reference_steps", "best", "test"), number),
        test_missed=False,
        reference_blocks=[(one.step_cap, number)] * blocks,
        **dict.fromkeys(("drift", "build_s", "init_s", "lost_s", "wall_s", "load_average"), number),
        noisy=False,
        compilations_while_charged=0,
        preemptions=0,
        restarts=0,
        host=host,
    )
    parts = [msgspec.json.format(msgspec.json.encode(part), indent=1) for part in (identity, outcome)]
    return sum(map(len, parts)) + len(msgspec.json.encode(attempt)) + evaluations * (len(msgspec.json.encode(event)) + 1)


def _filled(metrics: Mapping[str, Any], number: float) -> dict[str, float | None]:
    return dict.fromkeys(metrics, number)
