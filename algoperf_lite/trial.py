"""One trial: train to the target. The loop reads top to bottom; everything else in this file serves it."""

import dataclasses
import os
import pathlib
import time
import traceback
from collections.abc import Callable
from typing import Any, Protocol

import jax
import msgspec
import numpy as np

from algoperf_lite import checkpoint, errors, records, storage
from algoperf_lite.clock import Clock, charged_reference_steps, drift
from algoperf_lite.engine import Programs, Repeated, evaluation_state
from algoperf_lite.training import Carry

REFERENCE_TIMINGS = 3  # of one interval each in a block; their median is the block, one disturbed timing is not
MIN_BLOCKS = 3  # of a trial
REFERENCE_FIRST, REFERENCE_EVERY = 20, 60  # intervals: three timings every 60 are 5 % of the run (P5)
NOISY_DRIFT = 0.15
TIME_FACTOR = 1.25  # P4's second stop
REDONE_SHARE = 0.10  # P7


class Listener(Protocol):
    """Hears of every evaluation: (phase, event or None)."""

    def __call__(self, phase: str, event: records.Event | None = None) -> None: ...


@dataclasses.dataclass(frozen=True)
class Job:
    """What a trial needs: who trains, on what, against which reference, and how far."""

    spec: records.TrialSpec
    programs: Programs
    reference: Programs
    reference_hparams: dict[str, Any]
    build_s: float
    budget_factor: float
    run_past: bool = False
    checkpoint_every_s: float = 60.0
    host: str = ""
    timed: bool = True  # False for smoke runs: no time limit, and two single timings of the reference


@dataclasses.dataclass
class State:
    """The loop's memory: `carry` on the devices, the rest numbers that a checkpoint keeps."""

    carry: Carry
    step: int = 0
    init_s: float = 0.0
    intervals: list[tuple[int, int, float]] = dataclasses.field(default_factory=list)
    blocks: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    best: float | None = None
    hit: dict[str, Any] | None = None

    @property
    def train_s(self) -> float:
        """Charged seconds of optimizer init and steps."""
        return self.init_s + sum(s for _, _, s in self.intervals)


def run(
    job: Job,
    folder: storage.TrialFolder,
    clock: Clock,
    say: Listener = lambda phase, event=None: None,
    stop: Callable[[], bool] = lambda: False,
) -> records.Outcome | None:
    """Trains until the first hit, the step cap or the time limit, and records the outcome; resumes what was begun.

    Returns:
      The outcome, or None where `stop` asked to stop: the trial is then checkpointed and goes on at the next run (from its
      start, if its programs are not `resumable`).

    Raises:
      EnvironmentFault: disk or device faults; no outcome is written.
    """
    if (done := folder.outcome()) is not None:
        return done
    started = time.perf_counter()
    try:
        outcome = _run(job, folder, clock, say, stop, started)
        if outcome is not None and clock.agree(_redone_share(folder, outcome) > REDONE_SHARE):
            folder.reset()
            outcome = _run(job, folder, clock, say, stop, started, repeated=True)
    except (errors.UserError, OSError):
        raise
    except Exception as e:
        outcome = _failed(job, folder, e, started)
    if outcome is not None:
        folder.finish(outcome)
    return outcome


def _run(job, folder, clock, say, stop, started, *, repeated=False) -> records.Outcome | None:
    programs, workload = job.programs, job.programs.bench.workload
    hyper, key = programs.hyper(job.spec.hparams), programs.key(job.spec.seed)
    say("init")
    reference = _Reference(job, clock)
    compilations = clock.compilations
    state = _resume(job, folder, repeated)
    resumed = state is not None
    state = state or _start(job, clock, hyper, key, folder, repeated)
    saved_at = time.perf_counter()
    block_due, verdict = True, None  # the first block is timed at every start, the machine may be another
    while verdict is None:
        if block_due:
            reference.block(state, after_resume=resumed)
            resumed = False
        say("train")
        first, number = state.step, programs.step_number(state.step)
        (state.carry, losses), seconds = clock.charge(programs.chunk, state.carry, hyper, programs.bench.data, key, number)
        state.step += len(losses)  # fewer than asked for where the submission has ended its training
        state.intervals.append((first, state.step, seconds))
        say("evaluate")
        ended, losses = len(losses) < workload.interval, np.asarray(losses)
        event, params, model_state = _evaluate(job, state, clock, key, losses)
        if clock.agree(_late(job, event)) and state.blocks[-1][0] != state.step:
            reference.block(state)  # the machine may have slowed down since the last one: decide by its speed now
            event = msgspec.structs.replace(event, reference_steps=_reference_steps(job, state, event.eval_charge_s))
        verdict = _judge(job, state, event, losses, ended)
        if verdict is not None or (state.hit and state.hit["step"] == state.step):
            event = _with_test(job, state, event, params, model_state)
        folder.append(event)
        say("train", event)
        block_due = (state.step // workload.interval) % REFERENCE_EVERY == REFERENCE_FIRST
        if verdict is None:
            interrupted = stop()
            due = interrupted or clock.agree(time.perf_counter() - saved_at >= job.checkpoint_every_s)
            if due and programs.resumable:
                say("save")
                reference.block(state)  # so that what goes on elsewhere leaves this part at this machine's speed
                block_due = False
                _save(folder, state)
                saved_at = time.perf_counter()
            if interrupted:
                return None
    reference.block(state, at_least=MIN_BLOCKS if job.timed else 1)
    message = f"the submission ended its training at step {state.step}" if ended else ""
    return _outcome(job, folder, state, verdict, event, clock.compilations - compilations, started, message)


# ------------------------------------------------------------------------------------- start, save and resume


def _start(job: Job, clock: Clock, hyper, key, folder: storage.TrialFolder, repeated: bool) -> State:
    folder.attempt(0, 0.0, job.host, repeated=repeated)
    carry, seconds = clock.charge(job.programs.begin, job.programs.set_up(key, hyper), hyper)
    return State(carry, init_s=seconds)


def _save(folder: storage.TrialFolder, state: State) -> None:
    numbers = {f.name: getattr(state, f.name) for f in dataclasses.fields(state) if f.name != "carry"}
    checkpoint.save(folder.checkpoints, state.step, state.carry._asdict(), numbers, writer=folder.writer)


def _resume(job: Job, folder: storage.TrialFolder, repeated: bool) -> State | None:
    if repeated or not job.programs.resumable:
        return None
    assert job.programs.carry_abstract is not None
    found = checkpoint.restore(folder.checkpoints, job.programs.carry_abstract._asdict())
    if found is None:
        return None
    arrays, numbers = found
    state = State(Carry(**arrays), **numbers)
    state.intervals = [(first, last, s) for first, last, s in state.intervals]
    state.blocks = [(step, s) for step, s in state.blocks]
    folder.attempt(state.step, state.train_s, job.host)
    return state


def _redone_share(folder: storage.TrialFolder, outcome: records.Outcome) -> float:
    """Share of the charge that was done twice in a trial that went on from a checkpoint; once only (P7)."""
    attempts = folder.attempts()
    if any(a.repeated for a in attempts) or not any(a.step for a in attempts):
        return 0.0
    since = max((i for i, a in enumerate(attempts) if a.step == 0), default=0)
    return sum(a.lost_s for a in attempts[since + 1 :]) / max(outcome.charged_s, 1e-9)


# --------------------------------------------------------------------------------------------- the reference


class _Reference:
    """Times the reference's own chunk, off the clock, on a carry of its own (P5)."""

    def __init__(self, job: Job, clock: Clock):
        self._chunk = Repeated(job.reference, job.reference_hparams, clock.charge)
        self._interval = job.reference.bench.workload.interval
        self._timings = REFERENCE_TIMINGS if job.timed else 1

    def block(self, state: State, *, at_least: int = 0, after_resume: bool = False) -> None:
        """Adds the block at the state's step; further ones until there are `at_least`.

        After a resume it stands one step on: the last block before it may be another machine's, and each keeps its side.
        """
        step = state.step + after_resume
        while True:
            timings = [self._chunk.seconds() / self._interval for _ in range(self._timings)]
            state.blocks.append((step, float(np.median(timings))))
            if len(state.blocks) >= at_least:
                return


# -------------------------------------------------------------------------------- evaluation and its judgement


def _evaluate(job: Job, state: State, clock: Clock, key, losses: np.ndarray):
    """Evaluates at the submission's evaluation parameters. Getting them is charged, the evaluation is not (P2)."""
    programs, bench = job.programs, job.programs.bench
    eval_s, number = 0.0, programs.step_number(state.step)
    params, model_state = state.carry.params, state.carry.model_state
    if programs.eval_params is not None:
        (params, model_state), eval_s = clock.charge(evaluation_state, programs, state.carry, key, number)
    begin = time.perf_counter()
    metrics = {split: bench.metrics(params, model_state, split) for split in ("eval_train", "validation")}
    mean_loss = float(np.mean(losses, dtype=np.float64))
    event = records.Event(
        step=state.step,
        examples=state.step * bench.workload.batch_size,
        train_time_s=state.train_s,
        eval_charge_s=eval_s,
        submission_time_s=job.build_s + state.train_s + eval_s,
        reference_steps=_reference_steps(job, state, eval_s),
        eval_time_s=time.perf_counter() - begin,
        train_loss=mean_loss if np.isfinite(mean_loss) else None,
        eval_train=metrics["eval_train"],
        validation=metrics["validation"],
    )
    return event, params, model_state


def _late(job: Job, event: records.Event) -> bool:
    """P4's second stop."""
    if not job.timed:
        return False
    return event.reference_steps > TIME_FACTOR * job.programs.bench.workload.step_budget * job.budget_factor


def _with_test(job: Job, state: State, event: records.Event, params, model_state) -> records.Event:
    """Test metrics, at the hit and at the end only (P10)."""
    workload = job.programs.bench.workload
    test = job.programs.bench.metrics(params, model_state, "test")
    if state.hit and state.hit["step"] == state.step:
        value, se = test[workload.metric], test.get(f"{workload.metric}_se") or 0.0
        slack = -2 * se if workload.direction == "max" else 2 * se
        state.hit["test"] = value
        state.hit["test_missed"] = value is None or not workload.reaches(value, workload.test_target + slack)
    return msgspec.structs.replace(event, test=test)


def _reference_steps(job: Job, state: State, eval_s: float) -> float:
    upfront = job.build_s + state.init_s
    return charged_reference_steps(state.intervals, state.blocks, upfront_s=upfront, evaluation_s=eval_s)


def _judge(job: Job, state: State, event: records.Event, losses: np.ndarray, ended: bool) -> str | None:
    """The outcome at this evaluation, None to go on.

    A loss that is not finite, be it one of a step long ago that later steps undid, is the end and never a hit.
    """
    workload = job.programs.bench.workload
    if not np.all(np.isfinite(losses)):
        return "target_reached" if state.hit else "diverged"
    value = event.validation[workload.metric]
    value = float("nan") if value is None else value  # NaN reaches nothing
    if workload.reaches(value, state.best if state.best is not None else value):
        state.best = value
    late = _late(job, event)
    if state.hit is None and not late and workload.reaches(value, workload.validation_target):
        state.hit = {"step": state.step, "eval_s": event.eval_charge_s, "intervals": len(state.intervals)}
    if state.hit is not None:
        moved = workload.validation_target + workload.seed_sd * (1 if workload.direction == "max" else -1)
        if not job.run_past or workload.reaches(value, moved) or ended or state.step >= job.spec.step_cap:
            return "target_reached"
    if late:
        return "target_reached" if state.hit else "time_exhausted"
    return "budget_exhausted" if ended or state.step >= job.spec.step_cap else None


# -------------------------------------------------------------------------------------------------- outcomes


def _outcome(
    job: Job,
    folder: storage.TrialFolder,
    state: State,
    verdict: Any,
    event: records.Event,
    compilations: int,
    started: float,
    message: str,
) -> records.Outcome:
    hit = state.hit
    read = state.intervals[: hit["intervals"]] if hit else state.intervals
    eval_s = hit["eval_s"] if hit else event.eval_charge_s
    charged_s = job.build_s + state.init_s + sum(s for _, _, s in read) + eval_s
    charged = charged_reference_steps(read, state.blocks, upfront_s=job.build_s + state.init_s, evaluation_s=eval_s)
    metric = job.programs.bench.workload.metric
    return _record(
        folder,
        job.host,
        job.build_s,
        time.perf_counter() - started,
        outcome=verdict,
        step=hit["step"] if hit else None,
        time_s=charged_s if hit else None,
        reference_steps=charged if hit else None,
        last_step=state.step,
        charged_s=charged_s,
        charged_reference_steps=charged,
        best=state.best,
        test=hit["test"] if hit else (event.test or {}).get(metric),
        test_missed=bool(hit and hit["test_missed"]),
        reference_blocks=state.blocks,
        drift=drift(state.blocks),
        noisy=job.timed and drift(state.blocks) > NOISY_DRIFT,
        init_s=state.init_s,
        compilations_while_charged=compilations,
        message=message,
    )


def _failed(job: Job, folder: storage.TrialFolder, error: Exception, started: float) -> records.Outcome:
    """A failed trial is an outcome with a reason; a fault of the device is not the submission's and raises."""
    if not is_out_of_memory(error) and isinstance(error, jax.errors.JaxRuntimeError):
        raise errors.EnvironmentFault(
            f"device fault in trial {job.spec.id}: {str(error).splitlines()[0]}; run the same command again to go on"
        ) from error
    return failure(folder, error, job.host, job.build_s, time.perf_counter() - started)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device or the host ran out of memory; a disk that says so too is an `EnvironmentFault` by now."""
    if isinstance(error, errors.UserError):
        return False
    text = str(error)
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "Out of memory" in text


def failure(
    folder: storage.TrialFolder, error: Exception, host: str, build_s: float = 0.0, wall_s: float = 0.0
) -> records.Outcome:
    """The outcome of a trial that an exception ended: `out_of_memory` or `error`, with the traceback."""
    return _record(
        folder,
        host,
        build_s,
        wall_s,
        outcome="out_of_memory" if is_out_of_memory(error) else "error",
        step=None,
        time_s=None,
        reference_steps=None,
        last_step=0,
        charged_s=0.0,
        charged_reference_steps=0.0,
        best=None,
        test=None,
        test_missed=False,
        reference_blocks=[],
        drift=0.0,
        noisy=False,
        init_s=0.0,
        compilations_while_charged=0,
        message="".join(traceback.format_exception(error))[-8000:].replace(str(pathlib.Path.home()), "~"),
    )


def _record(folder: storage.TrialFolder, host: str, build_s: float, wall_s: float, **fields: Any) -> records.Outcome:
    attempts = folder.attempts()
    return records.Outcome(
        **fields,
        build_s=build_s,
        preemptions=sum(not a.repeated for a in attempts[1:]),
        lost_s=sum(a.lost_s for a in attempts),
        restarts=sum(a.step == 0 for a in attempts[1:]),
        wall_s=wall_s,
        load_average=os.getloadavg()[0],
        host=host,
    )
