"""The trial loop on the tiny workload: when it ends, what it records, and that it can be taken up again."""

import dataclasses
import errno
import math
import os

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest

from algoperf_lite import checkpoint, config, engine, errors, runner, storage, trial
from algoperf_lite.clock import Clock
from algoperf_lite.training import Carry
from tests import tiny_trial

TIMES = {"train_time_s", "eval_charge_s", "submission_time_s", "reference_steps", "eval_time_s"}


def _bits(events):
    """Events without their times, as JSON: NaN and null alike, floats to the last bit."""
    return [{k: v for k, v in msgspec.to_builtins(e).items() if k not in TIMES} for e in events]


def _values(events):
    return [e.validation["accuracy"] for e in events]


@pytest.fixture(scope="module")
def programs():
    return tiny_trial.programs("nadamw", target=tiny_trial.UNREACHABLE)


@pytest.fixture(scope="module")
def whole(programs, tmp_path_factory):
    """(outcome, events) of a whole budget."""
    return tiny_trial.run(tmp_path_factory.mktemp("whole"), tiny_trial.job(programs))


@pytest.fixture
def fake(programs):
    """(fake time, job): 1 s per reference step and 8 s per chunk, all else for nothing."""
    now = tiny_trial.FakeTime()
    return now, tiny_trial.job(_taking(now, programs, 8.0), _taking(now, programs, 8.0), budget_factor=1.0)


def _taking(now, programs, seconds):
    return dataclasses.replace(programs, chunk=now.takes(seconds, programs.chunk))


# ------------------------------------------------------------------------------------------------ how a trial ends


def test_trial_without_a_hit_exhausts_its_budget(whole):
    outcome, events = whole
    assert (outcome.outcome, outcome.last_step, len(events)) == ("budget_exhausted", 160, 20)
    assert (outcome.step, outcome.time_s, outcome.reference_steps, outcome.test_missed) == (None, None, None, False)
    assert outcome.best == max(_values(events))
    assert outcome.charged_s == events[-1].submission_time_s
    assert [e.step for e in events] == list(range(8, 168, 8))
    assert [e.examples for e in events] == [16 * e.step for e in events]


def test_trial_with_a_step_cap_ends_there(programs, tmp_path):
    outcome, events = tiny_trial.run(tmp_path, tiny_trial.job(programs, step_cap=40))
    assert (outcome.outcome, outcome.last_step, len(events)) == ("budget_exhausted", 40, 5)


@pytest.mark.parametrize("above", [0, 1], ids=["equal", "just_above"])
def test_trial_hits_at_the_first_evaluation_that_meets_the_target_and_equality_counts(above, programs, whole, tmp_path):
    _, events = whole
    value = _values(events)[2]
    target = math.nextafter(value, 2) if above else value
    expected = next(e.step for e in events if e.validation["accuracy"] >= target)
    assert (expected == 24) == (not above)
    aimed = tiny_trial.aimed(programs, validation_target=target)
    outcome, found = tiny_trial.run(tmp_path, tiny_trial.job(aimed))
    assert (outcome.outcome, outcome.step, outcome.last_step) == ("target_reached", expected, expected)
    assert _bits(found)[:-1] == _bits(events)[: len(found) - 1]


def test_trial_of_a_metric_to_minimise_hits_from_above(programs, whole, tmp_path, monkeypatch):
    finalise = programs.bench.workload.finalise
    losses = [1 - v for v in _values(whole[1])]
    aimed = tiny_trial.aimed(
        programs,
        direction="min",
        validation_target=losses[1],
        finalise=lambda sums: {"accuracy": 1 - finalise(sums)["accuracy"]},
    )
    outcome, _ = tiny_trial.run(tmp_path, tiny_trial.job(aimed))
    assert (outcome.outcome, outcome.step) == ("target_reached", 16)


def test_trial_with_a_loss_that_is_not_finite_diverges_and_never_hits(tmp_path):
    programs = tiny_trial.programs("nesterov", target=-1.0)
    job = tiny_trial.job(programs, hparams={"learning_rate": math.inf})
    outcome, events = tiny_trial.run(tmp_path, job)
    assert (outcome.outcome, outcome.step, outcome.best) == ("diverged", None, None)
    assert events[-1].train_loss is None
    assert len(events) == 1


def test_trial_with_a_metric_that_is_nan_never_hits(programs, tmp_path):
    for direction in ("max", "min"):
        aimed = tiny_trial.aimed(programs, direction=direction, finalise=lambda sums: {"accuracy": math.nan})
        outcome, events = tiny_trial.run(tmp_path, tiny_trial.job(aimed, entrant=direction))
        assert (outcome.outcome, outcome.step, outcome.best) == ("budget_exhausted", None, None)
        assert events[0].validation == {"accuracy": None}


@pytest.mark.parametrize(("chunk_s", "last"), [(16.0, 13 * 8), (20.0, 11 * 8)])
def test_trial_over_five_quarters_of_the_budget_in_time_is_stopped(chunk_s, last, fake, programs, tmp_path):
    """Limit 1.25 x 160 reference steps of 1 s; at exactly 200 (ten chunks of 20 s) it goes on."""
    now, job = fake
    job = dataclasses.replace(job, programs=_taking(now, programs, chunk_s))
    outcome, events = tiny_trial.run(tmp_path, job, Clock(now))
    assert (outcome.outcome, outcome.last_step) == ("time_exhausted", last)
    assert events[-1].reference_steps == chunk_s * len(events)


# ---------------------------------------------------------------------------------------------------- past the hit


def test_trial_that_runs_past_its_hit_leaves_the_time_alone(fake, programs, whole, tmp_path):
    now, job = fake
    target = _values(whole[1])[1]
    outcomes = {}
    for past in (False, True):
        trained = _taking(now, tiny_trial.aimed(programs, validation_target=target, seed_sd=1.0), 8.0)
        run = dataclasses.replace(job, programs=trained, run_past=past)
        outcomes[past] = tiny_trial.run(tmp_path / str(past), run, Clock(now))
    (short, events), (long, more) = outcomes[False], outcomes[True]
    for name in ("outcome", "step", "time_s", "reference_steps", "charged_s", "test", "test_missed"):
        assert getattr(short, name) == getattr(long, name), name
    assert (short.outcome, short.step, short.time_s) == ("target_reached", 16, 16.0)
    assert (short.last_step, long.last_step, len(events), len(more)) == (16, 160, 2, 20)


def test_trial_that_runs_past_its_hit_stops_at_the_target_moved_by_one_sd(programs, whole, tmp_path):
    values = _values(whole[1])
    assert values[1] < values[3]
    aimed = tiny_trial.aimed(programs, validation_target=values[1], seed_sd=values[3] - values[1] - 1e-9)
    outcome, _ = tiny_trial.run(tmp_path, tiny_trial.job(aimed, run_past=True))
    assert (outcome.step, outcome.last_step) == (16, 32)


def test_trial_that_diverges_past_its_hit_keeps_it(tmp_path):
    source = tiny_trial.write_submission(
        tmp_path,
        """
        DEFAULTS = {"learning_rate": 0.5}


        def build(problem, hparams):
            rate = lambda count: hparams["learning_rate"] * jnp.where(count < 100, 1.0, jnp.nan)
            return optax.sgd(rate)
        """,
    )
    programs = tiny_trial.aimed(tiny_trial.programs(source, target=0.9), seed_sd=1.0)
    outcome, events = tiny_trial.run(tmp_path, tiny_trial.job(programs, run_past=True))
    assert outcome.outcome == "target_reached"
    assert outcome.step < outcome.last_step == 104
    assert events[-1].train_loss is None


@pytest.mark.parametrize(("past", "tested"), [(False, [2]), (True, [2, 20])])
def test_test_split_is_evaluated_at_the_hit_and_at_the_end_only(past, tested, programs, whole, tmp_path, monkeypatch):
    metrics, asked = engine.Bench.metrics, []

    def counted(self, params, state, split):
        asked.append(split)
        return metrics(self, params, state, split)

    monkeypatch.setattr(engine.Bench, "metrics", counted)
    aimed = tiny_trial.aimed(programs, validation_target=_values(whole[1])[1], seed_sd=1.0)
    outcome, events = tiny_trial.run(tmp_path, tiny_trial.job(aimed, run_past=past))
    assert [k for k, e in enumerate(events, 1) if e.test is not None] == tested
    assert asked.count("test") == len(tested)
    assert asked.count("validation") == asked.count("eval_train") == len(events)
    assert outcome.test == events[1].test["accuracy"]


@pytest.mark.parametrize(("direction", "sign"), [("max", 1), ("min", -1)])
def test_hit_that_misses_the_test_target_by_over_two_standard_errors_is_starred(direction, sign, programs, whole, tmp_path):
    """The first evaluation hits; its test target lies 1.9, then 2.1 standard errors on the wrong side."""
    reached = {"direction": direction, "validation_target": -sign * 2.0}
    first = tiny_trial.aimed(programs, **reached)
    (_, (event,)) = tiny_trial.run(tmp_path, tiny_trial.job(first))
    for errors_off, missed in ((-5.0, False), (1.9, False), (2.1, True)):
        target = event.test["accuracy"] + sign * errors_off * event.test["accuracy_se"]
        job = tiny_trial.job(tiny_trial.aimed(programs, test_target=target, **reached), entrant=f"e{errors_off}")
        outcome, _ = tiny_trial.run(tmp_path, job)
        assert (outcome.outcome, outcome.step, outcome.test_missed) == ("target_reached", 8, missed)
        assert outcome.test == event.test["accuracy"]


# ------------------------------------------------------------------------------------- what a trial is a function of


def test_trial_compiles_nothing_while_charged(tmp_path):
    for name in ("nadamw", "schedule_free_adamw", "dog"):
        outcome, _ = tiny_trial.run(tmp_path, tiny_trial.job(tiny_trial.programs(name)))
        assert outcome.compilations_while_charged == 0


def test_trial_with_the_same_seed_has_the_same_bits_and_with_another_others(programs, whole, tmp_path):
    _, again = tiny_trial.run(tmp_path, tiny_trial.job(programs))
    _, other = tiny_trial.run(tmp_path, tiny_trial.job(programs, seed=8))
    assert _bits(again) == _bits(whole[1])
    assert all(a["train_loss"] != b["train_loss"] for a, b in zip(_bits(other), _bits(whole[1]), strict=True))


STILL = """
    DEFAULTS = {{"learning_rate": 0.0}}


    def build(problem, hparams):
        return {}
    """


def test_two_entrants_of_one_trial_meet_the_same_parameters_and_the_same_data(tmp_path):
    """Two that never move: every loss is then one of the initial parameters on the data of that step."""
    bodies = {
        "sgd": STILL.format('optax.sgd(hparams["learning_rate"])'),
        "noisy": STILL.format(
            'optax.chain(optax.add_noise(1.0, 0.5, key=jax.random.key(3)), optax.adam(hparams["learning_rate"]))'
        ),
    }
    found = {}
    for name, body in bodies.items():
        source = tiny_trial.write_submission(tmp_path, body, name)
        found[name] = tiny_trial.run(tmp_path, tiny_trial.job(tiny_trial.programs(source, target=tiny_trial.UNREACHABLE)))
    (_, first), (_, second) = found.values()
    assert _bits(first) == _bits(second)
    assert len({e.train_loss for e in first}) == len(first)


@pytest.mark.parametrize("name", ["schedule_free_adamw", "dog"])
def test_evaluation_parameters_do_not_flow_back_into_training(name, tmp_path):
    base = tiny_trial.programs(name, target=tiny_trial.UNREACHABLE)
    seen = {}

    def recorded(kind, chunk):
        def call(*args):
            carry, losses = chunk(*args)
            seen.setdefault(kind, []).append(jax.tree.map(np.array, (carry, losses)))
            return carry, losses

        return call

    for kind, evaluated in (("own", {}), ("trained", {"eval_params": None, "batch_stats": None})):
        programs = dataclasses.replace(base, chunk=recorded(kind, base.chunk), **evaluated)
        found = tiny_trial.run(tmp_path / kind, tiny_trial.job(programs, base))
        seen[f"{kind} values"] = [e.eval_train for e in found[1]] + [e.validation for e in found[1]]
    jax.tree.map(np.testing.assert_array_equal, seen["own"], seen["trained"])
    assert seen["own values"] != seen["trained values"]


def test_batch_statistics_are_recomputed_at_the_evaluation_parameters(tmp_path):
    """P9. Statistics that are a sum of the parameters: K = 2 updates at x, from the state that training left."""
    source = tiny_trial.write_submission(
        tmp_path,
        """
        DEFAULTS = {"learning_rate": 0.1}


        def build(problem, hparams):
            return optax.sgd(hparams["learning_rate"])


        def eval_params(opt_state, params):
            return jax.tree.map(lambda p: 2 * p + 1, params)
        """,
    )
    base = tiny_trial.bench().workload
    loss = base.loss

    def summing(params, state, batch, key, train, reg):
        value, after = loss(params, state, batch, key, train, reg)
        return value, {"mean": 0.5 * state["mean"] + jnp.sum(params["kernel"])} if train else after

    bench = engine.compile_bench(dataclasses.replace(base, loss=summing), tiny_trial.bench().mesh)
    entry = tiny_trial.registry.load_submission(source)
    programs = engine.compile_programs(bench, entry, entry.resolve({}))
    key, hyper = programs.key(3), programs.hyper(entry.resolve({}))
    params, state = programs.start(key)
    carry = Carry(params, state, programs.opt_init(params, hyper))
    carry, _ = programs.chunk(carry, hyper, bench.data, key, programs.step_number(0))
    at, found = engine.evaluation_state(programs, carry, key, programs.step_number(8))
    kernel, mean = np.asarray(carry.params["kernel"], np.float64), np.asarray(carry.model_state["mean"], np.float64)
    np.testing.assert_allclose(at["kernel"], 2 * kernel + 1, rtol=1e-6)
    np.testing.assert_allclose(found["mean"], mean / 4 + 1.5 * np.sum(2 * kernel + 1), rtol=1e-5)
    plain = dataclasses.replace(programs, eval_params=None)
    jax.tree.map(
        np.testing.assert_array_equal,
        engine.evaluation_state(plain, carry, key, programs.step_number(8)),
        (carry.params, carry.model_state),
    )


# ----------------------------------------------------------------------------------------------- no credit for cheats

STEPPING = """
import time

DEFAULTS = {{"learning_rate": 0.1}}
SEEN = []


def build(problem, hparams):
    def update(grads, count, params=None):
        SEEN.append(time.perf_counter())
        {rate}
        return jax.tree.map(lambda g: -rate * g, grads), count + 1

    return optax.GradientTransformation(lambda params: jnp.zeros([], jnp.int32), update)
{more}
"""


@pytest.mark.parametrize("rate", ["rate = 0.1 / len(SEEN)", "rate = 0.1 * (SEEN[-1] % 1.0)"], ids=["globals", "clock"])
def test_python_globals_and_the_clock_are_constants_of_all_trials(rate, tmp_path):
    """No trial runs the file's Python, and the same seed gives the same bits before and after another trial."""
    source = tiny_trial.write_submission(tmp_path, STEPPING.format(rate=rate, more=""))
    programs = tiny_trial.aimed(tiny_trial.programs(source, target=2.0), validation_target=tiny_trial.UNREACHABLE)
    seen = programs.submission.author_build.__globals__["SEEN"]
    before, found = len(seen), []
    for number, seed in enumerate((7, 8, 7)):
        found.append(_bits(tiny_trial.run(tmp_path / str(number), tiny_trial.job(programs, seed=seed))[1]))
    assert len(seen) == before > 0
    assert found[0] == found[2] != found[1]


def test_masked_nan_ends_the_trial_whatever_became_of_the_parameters(tmp_path):
    """One step leaves parameters of infinite loss, the next puts the old ones back: the last loss is finite."""
    source = tiny_trial.write_submission(
        tmp_path,
        """
        DEFAULTS = {"learning_rate": 0.1}


        def build(problem, hparams):
            def update(grads, count, params=None):
                # 1e38 everywhere makes logits, and with them the loss, infinite; taking it away again mends them.
                jump = jnp.where(count == 10, 3e38, 0.0) - jnp.where(count == 11, 3e38, 0.0)
                rate = jnp.where((count < 10) | (count > 11), 0.1, 0.0)
                return jax.tree.map(lambda g: jump - rate * jnp.nan_to_num(g), grads), count + 1

            return optax.GradientTransformation(lambda params: jnp.zeros([], jnp.int32), update)
        """,
    )
    programs = tiny_trial.aimed(tiny_trial.programs(source, target=2.0), validation_target=tiny_trial.UNREACHABLE)
    key, hyper = programs.key(7), programs.hyper({"learning_rate": 0.1})
    carry, losses = programs.chunk(programs.fresh(key, hyper), hyper, programs.bench.data, key, programs.step_number(0))
    assert np.all(np.isfinite(losses))
    carry, losses = programs.chunk(carry, hyper, programs.bench.data, key, programs.step_number(8))
    assert not np.all(np.isfinite(losses))
    assert np.isfinite(losses[-1])
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(carry.params))
    outcome, events = tiny_trial.run(tmp_path, tiny_trial.job(programs))
    assert (outcome.outcome, outcome.step, outcome.last_step, len(events)) == ("diverged", None, 16, 2)


def test_eval_params_cannot_steer_training(tmp_path):
    """Losses are those of a training without them, to the bit, whatever they return and keep."""
    more = """

def eval_params(opt_state, params):
    SEEN.append(params)
    return jax.tree.map(lambda p: 0 * p + len(SEEN), params)
"""
    losses = {}
    for name, tail in (("plain", ""), ("steering", more)):
        source = tiny_trial.write_submission(tmp_path, STEPPING.format(rate="rate = 0.1", more=tail), name)
        programs = tiny_trial.aimed(tiny_trial.programs(source, target=2.0), validation_target=tiny_trial.UNREACHABLE)
        losses[name] = [e.train_loss for e in tiny_trial.run(tmp_path / f"{name}-run", tiny_trial.job(programs))[1]]
    assert losses["plain"] == losses["steering"]


# ------------------------------------------------------------------------------------------------------- failures


def _tiny_runner(tmp_path, tiny_toml, submission, **more):
    request = runner.Request(
        benchmark=config.load_benchmark(str(tiny_toml)),
        mesh={"data": 1, "fsdp": 1},
        submissions=[submission],
        studies=1,
        smoke=True,
        **more,
    )
    return runner.Runner(request, storage.RunDirectory(tmp_path / "run"), Clock())


def test_submission_that_runs_out_of_memory_has_that_outcome(tmp_path, tiny_toml):
    source = tiny_trial.write_submission(
        tmp_path,
        """
        DEFAULTS = {"learning_rate": 0.1}


        def build(problem, hparams):
            inner = optax.sgd(hparams["learning_rate"])

            def init(params):
                return jnp.full((1 << 20, 1 << 28), params["bias"][0]), inner.init(params)

            def update(updates, state, params=None):
                updates, after = inner.update(updates, state[1], params)
                return updates, (state[0] + 1, after)

            return optax.GradientTransformation(init, update)
        """,
    )
    found = _tiny_runner(tmp_path, tiny_toml, source)
    ((spec, outcome),) = list(found.run(found.resolve()))
    assert (outcome.outcome, outcome.step, outcome.last_step) == ("out_of_memory", None, 0)
    assert found.directory.outcome(spec.id) == outcome
    assert outcome.message


def _raising(programs, error, at=3):
    """Programs whose chunk raises at its `at`-th call."""
    calls = []

    def chunk(*args):
        calls.append(None)
        if len(calls) == at:
            raise error
        return programs.chunk(*args)

    return dataclasses.replace(programs, chunk=chunk)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (ValueError("bad state"), "error"),
        (FloatingPointError("division"), "error"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Exception) else v,
)
def test_trial_whose_program_raises_has_an_outcome_with_the_reason(error, kind, programs, tmp_path):
    outcome, events = tiny_trial.run(tmp_path, tiny_trial.job(_raising(programs, error), programs))
    assert (outcome.outcome, outcome.step, outcome.time_s, len(events)) == (kind, None, None, 2)
    assert type(error).__name__ in outcome.message
    assert str(error) in outcome.message


def test_device_fault_is_the_machines_and_leaves_no_outcome(programs, whole, tmp_path):
    fault = jax.errors.JaxRuntimeError("INTERNAL: the device is gone")
    job = tiny_trial.job(_raising(programs, fault), programs)
    place = tiny_trial.folder(tmp_path, job)
    with pytest.raises(errors.EnvironmentFault, match=r"the device is gone.*same command again"):
        trial.run(job, place, Clock())
    assert place.outcome() is None
    _same_as_whole(place, trial.run(tiny_trial.job(programs), place, Clock()), whole)


@pytest.mark.parametrize("what", ["events", "outcome", "checkpoint"])
def test_full_disk_is_the_machines_and_leaves_no_outcome(what, programs, whole, tmp_path, monkeypatch):
    job = tiny_trial.job(programs, checkpoint_every_s=0.0 if what == "checkpoint" else 1e9)
    place = tiny_trial.folder(tmp_path, job)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if what == "outcome":
            patch.setattr(storage.os, "replace", _after(full, os.replace, lambda *a: str(a[1]).endswith("outcome.json")))
        elif what == "events":
            patch.setattr(storage.os, "fsync", _after(full, os.fsync, lambda fd: _open_name(fd) == "events.jsonl"))
        else:
            patch.setattr(checkpoint.os, "fsync", _after(full, os.fsync, lambda fd: _open_name(fd) == ".8.json"))
        with pytest.raises(errors.EnvironmentFault, match="No space left on device"):
            trial.run(job, place, Clock())
    assert place.outcome() is None
    _same_as_whole(place, trial.run(tiny_trial.job(programs), place, Clock()), whole)


def test_checkpoint_that_the_disk_refuses_deep_inside_is_not_the_submissions_fault(programs, tmp_path, monkeypatch):
    """tensorstore's words for a full disk hold those of a full memory."""
    import orbax.checkpoint as ocp

    def full(*args, **kwargs):
        raise ValueError("RESOURCE_EXHAUSTED: Error writing local file: No space left on device [os_error_code='28']")

    monkeypatch.setattr(ocp.StandardCheckpointer, "save", full)
    job = tiny_trial.job(programs, checkpoint_every_s=0.0)
    place = tiny_trial.folder(tmp_path, job)
    with pytest.raises(errors.EnvironmentFault, match="No space left on device"):
        trial.run(job, place, Clock())
    assert place.outcome() is None


def test_checkpoint_that_is_damaged_is_named(programs, tmp_path):
    job = tiny_trial.job(programs)
    place = tiny_trial.folder(tmp_path, job)
    assert trial.run(job, place, Clock(), stop=_stopping_at(place, 8)) is None
    for file in (place.checkpoints / "8").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.raises(errors.EnvironmentFault, match=r"ckpt/8 cannot be read.*starts over"):
        trial.run(job, place, Clock())
    assert place.outcome() is None


def _after(fail, real, is_it):
    return lambda *args, **kwargs: fail() if is_it(*args) else real(*args, **kwargs)


def _open_name(descriptor):
    return os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))


def _same_as_whole(place, outcome, whole):
    assert _bits(place.events()) == _bits(whole[1])
    for name in ("outcome", "step", "last_step", "best", "test", "test_missed"):
        assert getattr(outcome, name) == getattr(whole[0], name), name


# ------------------------------------------------------------------------------------------------- interruptions (P7)


def _stopping_at(place, step):
    return lambda: bool(place.events()) and place.events()[-1].step == step


def test_trial_that_was_stopped_goes_on_to_the_same_bits(whole, tmp_path):
    for name in ("nadamw", "schedule_free_adamw", "dog"):
        programs = tiny_trial.programs(name, target=tiny_trial.UNREACHABLE)
        job = tiny_trial.job(programs)
        straight = whole if name == "nadamw" else tiny_trial.run(tmp_path / "straight", job)
        place = tiny_trial.folder(tmp_path, job)
        assert trial.run(job, place, Clock(), stop=_stopping_at(place, 56)) is None
        assert place.outcome() is None
        assert len(place.events()) == 7
        outcome = trial.run(job, place, Clock())
        _same_as_whole(place, outcome, straight)
        assert [a.step for a in place.attempts()] == [0, 56]
        assert (outcome.preemptions, outcome.restarts, outcome.lost_s) == (1, 0, 0.0)
        assert not place.checkpoints.exists()
        assert trial.run(job, place, Clock()) == outcome


class _Killed(BaseException):
    """As SIGKILL leaves it: nothing is recorded."""


def _killed_at(job, place, clock, step):
    """Runs until the evaluation at `step` is on the disk."""

    def say(phase, event=None):
        if event is not None and event.step == step:
            raise _Killed

    with pytest.raises(_Killed):
        trial.run(job, place, clock, say)


def test_trial_killed_before_its_first_checkpoint_is_a_fresh_trial(fake, whole, tmp_path):
    now, job = fake
    place = tiny_trial.folder(tmp_path, job)
    _killed_at(job, place, Clock(now), 80)
    outcome = trial.run(job, place, Clock(now))
    _same_as_whole(place, outcome, whole)
    assert [(a.step, a.lost_s, a.repeated) for a in place.attempts()] == [(0, 0.0, False), (0, 80.0, False)]
    assert (outcome.preemptions, outcome.restarts, outcome.lost_s, outcome.charged_s) == (1, 1, 80.0, 160.0)


@pytest.mark.parametrize(("step", "repeated"), [(96, False), (104, True)], ids=["ten_percent", "over_ten_percent"])
def test_trial_with_over_ten_percent_redone_from_a_checkpoint_is_repeated_once(step, repeated, fake, whole, tmp_path):
    now, job = fake
    place = tiny_trial.folder(tmp_path, job)
    assert trial.run(job, place, Clock(now), stop=_stopping_at(place, 80)) is None
    _killed_at(job, place, Clock(now), step)
    began = now.t
    outcome = trial.run(job, place, Clock(now))
    _same_as_whole(place, outcome, whole)
    attempts = [(a.step, a.lost_s, a.repeated) for a in place.attempts()]
    assert attempts[:3] == [(0, 0.0, False), (80, 0.0, False), (80, step - 80.0, False)]
    assert attempts[3:] == ([(0, 0.0, True)] if repeated else [])
    assert (outcome.preemptions, outcome.restarts) == (2, int(repeated))
    assert (outcome.lost_s, outcome.charged_s) == (step - 80.0, 160.0)
    assert now.t - began > (160 if repeated else 80)


def test_repeated_trial_that_is_killed_again_is_not_repeated_twice(fake, whole, tmp_path):
    now, job = fake
    place = tiny_trial.folder(tmp_path, job)
    assert trial.run(job, place, Clock(now), stop=_stopping_at(place, 40)) is None
    _killed_at(job, place, Clock(now), 72)

    def say(phase, event=None):
        if event is not None and event.step == 120 and any(a.repeated for a in place.attempts()):
            raise _Killed

    with pytest.raises(_Killed):
        trial.run(job, place, Clock(now), say)
    outcome = trial.run(job, place, Clock(now))
    _same_as_whole(place, outcome, whole)
    assert sum(a.repeated for a in place.attempts()) == 1
