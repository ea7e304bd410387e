"""What is charged (PROTOCOL P1, P2, P5), by a fake time with exact equality and by the real one with injected sleeps."""

import dataclasses
import statistics
import time

import jax
import jax.numpy as jnp
import pytest

from algoperf_lite import clock, cost, engine, guard, registry, storage
from algoperf_lite.clock import Clock, CompilationCounter
from tests import tiny_trial

# ------------------------------------------------------------------------------------------------ pure functions


def test_charge_of_a_program_is_the_time_between_its_edges():
    now = tiny_trial.FakeTime()
    result, seconds = Clock(now).charge(now.takes(0.375, lambda a, b: a + b), 2, 3)
    assert (result, seconds) == (5, 0.375)


def test_charge_without_garbage_collection_restores_it():
    import gc

    def program():
        return gc.isenabled()

    assert gc.isenabled()
    assert Clock().charge(program)[0] is False
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        Clock().charge(lambda: 1 / 0)
    assert gc.isenabled()


def test_reference_step_between_blocks_is_interpolated_and_beyond_them_constant():
    blocks = [(0, 1.0), (10, 2.0)]
    assert [clock.reference_step_s(blocks, s) for s in (0, 5, 10, 99)] == [1.0, 1.5, 2.0, 2.0]


def test_reference_step_with_several_blocks_at_one_step_is_their_median():
    assert clock.reference_step_s([(4, 1.0), (4, 9.0), (4, 2.0)], 4) == 2.0


def test_charged_reference_steps_equals_the_sum_worked_by_hand():
    """Rates: 1 at step 0, 1.2 at 2, 1.6 at 6, 1.8 at 8: 5/1 + 3/1.2 + 4/1.6 + 9/1.8."""
    blocks, intervals = [(0, 1.0), (10, 2.0)], [(0, 4, 3.0), (4, 8, 4.0)]
    steps = clock.charged_reference_steps(intervals, blocks, upfront_s=5.0, evaluation_s=9.0)
    assert steps == pytest.approx(5 + 2.5 + 2.5 + 5, rel=1e-15)


def test_charged_reference_steps_before_any_interval_is_the_upfront_charge():
    assert clock.charged_reference_steps([], [(0, 0.5)], upfront_s=3.0) == 6.0


def test_drift_is_the_largest_block_over_the_smallest_less_one():
    assert clock.drift([(0, 2.0), (10, 3.0), (20, 2.5)]) == 0.5
    assert clock.drift([(0, 2.0)]) == 0.0


# ------------------------------------------------------------------------------------------------- compilations


def test_compilation_counter_around_a_warm_compiled_call_counts_none():
    program = jax.jit(lambda x: x * 3).lower(jnp.ones(5)).compile()
    x = jax.block_until_ready(program(jnp.ones(5)))
    with CompilationCounter() as counter:
        jax.block_until_ready(program(x))
    assert counter.count == 0


def test_compilation_counter_around_a_compilation_counts_it_and_stops_at_its_end():
    x = jnp.ones(11)
    with CompilationCounter() as counter:
        jax.jit(lambda x: x * 5 - 7)(x)
    seen = counter.count
    jax.jit(lambda x: x * 6 - 7)(x)
    assert seen > 0
    assert counter.count == seen


def test_charge_of_a_program_that_compiles_is_noted_on_the_clock():
    watch, x = Clock(), jnp.ones(13)
    watch.charge(lambda: jax.jit(lambda x: x * 17)(x))
    assert watch.compilations > 0


def test_time_spent_compiling_is_taken_off_the_charge():
    def traced(x):
        time.sleep(1.0)
        return x * 23

    x, watch = jnp.ones(19), Clock()
    start = time.perf_counter()
    _, seconds = watch.charge(lambda: jax.jit(traced)(x))
    assert time.perf_counter() - start > 1.0
    assert 0 < seconds < 0.5
    _, seconds = watch.charge(time.sleep, 0.1)  # nothing is compiled: nothing is taken off
    assert seconds >= 0.1


def test_what_is_compiled_within_something_else_counts_once():
    """Events by a fake time: (end, seconds it took) -> seconds in all."""
    now = tiny_trial.FakeTime()
    now.t = 10.0
    with CompilationCounter(now) as counter:
        for end, seconds, expected in (
            (13, 1, 1),  # 12-13
            (15, 4, 4),  # 11-15, with the first inside
            (20, 3, 7),  # 17-20
            (20, 1, 7),  # inside
            (22, 4, 9),  # 18-22
            (23, 50, 13),  # from before the charge began
        ):
            now.t = float(end)
            CompilationCounter._on_event(CompilationCounter.EVENT, float(seconds))
            assert counter.seconds == expected
        CompilationCounter._on_event("/jax/something/else", 1.0)
    assert (counter.seconds, counter.count) == (13, 6)


# ------------------------------------------------------------------------------ the edges: all leaves, not the loss


def _loop(length):
    return jax.jit(lambda x: jax.lax.fori_loop(0, length, lambda _, y: jnp.tanh(y @ x), x))


def test_slow_state_update_with_a_fast_loss_is_charged_in_full():
    """P1. The loss does not depend on the state, so whoever waits for the loss alone misses the update."""
    x = jax.random.normal(jax.random.key(0), (256, 256)) / 16
    update, loss = _loop(150).lower(x).compile(), jax.jit(jnp.sum).lower(x).compile()
    jax.block_until_ready((update(x), loss(x)))

    def program(x):
        return loss(x), update(x)

    def timed(wait):
        start = time.perf_counter()
        result = program(x)
        wait(result)
        seconds = time.perf_counter() - start
        jax.block_until_ready(result)
        return seconds

    whole = min(timed(jax.block_until_ready) for _ in range(3))
    charged = min(Clock().charge(program, x)[1] for _ in range(3))
    naive = min(timed(lambda result: jax.block_until_ready(result[0])) for _ in range(3))
    assert charged > 0.7 * whole
    assert naive < 0.5 * whole


def test_work_begun_before_the_charge_is_not_charged():
    x = jax.random.normal(jax.random.key(0), (256, 256)) / 16
    slow, fast = _loop(150).lower(x).compile(), jax.jit(lambda x: x + 1).lower(x).compile()
    jax.block_until_ready((slow(x), fast(x)))
    start = time.perf_counter()
    jax.block_until_ready(slow(x))
    whole = time.perf_counter() - start
    assert min(Clock().charge(fast, slow(x))[1] for _ in range(3)) < 0.3 * whole


# --------------------------------------------------------------------------------- a trial, by the fake time, exactly

INIT, CHUNK, EVAL_PARAMS, STATS, BUILD, REFERENCE = 0.5, 4.0, 2.0, 1.0, 4.0, 8.0  # the last: 1 s per reference step


@pytest.fixture
def slowed(monkeypatch):
    """(fake time, job): schedule_free on the fake time; what must not be charged takes 1000 s a call."""
    now = tiny_trial.FakeTime()
    base, reference = tiny_trial.programs("schedule_free_adamw"), tiny_trial.programs("nadamw")
    programs = dataclasses.replace(
        base,
        opt_init=now.takes(INIT, base.opt_init),
        chunk=now.takes(CHUNK, base.chunk),
        eval_params=now.takes(EVAL_PARAMS, base.eval_params),
        batch_stats=now.takes(STATS, base.batch_stats),
    )
    reference = dataclasses.replace(
        reference, opt_init=now.takes(1000, reference.opt_init), chunk=now.takes(REFERENCE, reference.chunk)
    )
    monkeypatch.setattr(engine.Bench, "metrics", now.takes(1000, engine.Bench.metrics))
    monkeypatch.setattr(storage.TrialFolder, "append", now.takes(1000, storage.TrialFolder.append))
    monkeypatch.setattr(engine.Programs, "start", now.takes(1000, engine.Programs.start))
    return now, tiny_trial.job(programs, reference, build_s=BUILD)


def test_charge_of_every_event_is_training_and_its_own_evaluation_alone(slowed, tmp_path):
    now, job = slowed
    _, events = tiny_trial.run(tmp_path, job, Clock(now))
    assert len(events) > 2
    for k, event in enumerate(events, 1):
        assert event.train_time_s == INIT + CHUNK * k
        assert event.eval_charge_s == EVAL_PARAMS + STATS
        assert event.submission_time_s == BUILD + INIT + CHUNK * k + EVAL_PARAMS + STATS
        assert event.reference_steps == event.submission_time_s


def test_charge_of_the_outcome_is_that_of_the_event_that_hit(slowed, tmp_path):
    now, job = slowed
    outcome, events = tiny_trial.run(tmp_path, job, Clock(now))
    assert outcome.outcome == "target_reached"
    assert outcome.time_s == outcome.charged_s == events[-1].submission_time_s
    assert outcome.reference_steps == outcome.charged_reference_steps == events[-1].reference_steps
    assert (outcome.init_s, outcome.build_s) == (INIT, BUILD)
    assert outcome.reference_blocks == [(0, 1.0), (events[-1].step, 1.0), (events[-1].step, 1.0)]
    assert (outcome.drift, outcome.noisy, outcome.compilations_while_charged) == (0.0, False, 0)


def test_reference_that_slows_down_lowers_the_charge_by_interpolation(slowed, tmp_path):
    """Rate 1 before training, 2 at its end: the outcome knows, the events (written before) do not."""
    now, job = slowed
    inner, trained = job.programs.chunk, []

    def chunk(*args):
        trained.append(None)
        return inner(*args)

    base = tiny_trial.programs("nadamw")
    reference = dataclasses.replace(base, chunk=now.takes(lambda: REFERENCE * (2 if trained else 1), base.chunk))
    job = dataclasses.replace(job, programs=dataclasses.replace(job.programs, chunk=chunk), reference=reference)
    outcome, events = tiny_trial.run(tmp_path, job, Clock(now))
    last = events[-1].step
    middles = [(e.step - 4) / last + 1 for e in events]
    by_hand = (BUILD + INIT) + sum(CHUNK / rate for rate in middles) + (EVAL_PARAMS + STATS) / 2
    assert outcome.reference_steps == pytest.approx(by_hand, rel=1e-14)
    assert outcome.time_s == events[-1].submission_time_s
    assert (outcome.drift, outcome.noisy) == (1.0, True)


# ------------------------------------------------------------------------------------- a trial, by the real clock


def _charged(tmp_path, name, job):
    return tiny_trial.run(tmp_path / name, job)[0].charged_s


@pytest.fixture(scope="module")
def whole_budget():
    """A job that trains all of its 20 intervals."""
    return tiny_trial.job(tiny_trial.programs("schedule_free_adamw", target=tiny_trial.UNREACHABLE))


@pytest.fixture(scope="module")
def plain(whole_budget, tmp_path_factory):
    """(median, spread) of the charge without anything injected."""
    charges = [_charged(tmp_path_factory.mktemp("plain"), str(k), whole_budget) for k in range(5)]
    return statistics.median(charges), max(charges) - min(charges)


EACH_S = 0.1  # 20 times in a trial


def _sleeps_in_evaluation(monkeypatch):
    metrics = engine.Bench.metrics

    def slow(self, params, state, split):
        time.sleep(EACH_S / 2)  # two splits at every evaluation
        return metrics(self, params, state, split)

    monkeypatch.setattr(engine.Bench, "metrics", slow)


def _sleeps_on_the_disk(monkeypatch):
    append = storage.TrialFolder.append

    def slow(self, event):
        time.sleep(EACH_S)
        append(self, event)

    monkeypatch.setattr(storage.TrialFolder, "append", slow)


@pytest.mark.parametrize("inject", [_sleeps_in_evaluation, _sleeps_on_the_disk])
def test_sleep_outside_of_training_leaks_less_than_two_percent(inject, whole_budget, tmp_path, monkeypatch):
    """By the smallest charge of pairs: a leak is in all of them, a neighbour on the machine is not."""
    plain, slept, leak = [], [], float("inf")
    for pair in range(8):
        plain.append(_charged(tmp_path, f"plain-{pair}", whole_budget))
        with monkeypatch.context() as patched:
            inject(patched)
            start = time.perf_counter()
            slept.append(_charged(tmp_path, f"slept-{pair}", whole_budget))
            injected = 20 * EACH_S
            assert time.perf_counter() - start > injected
        leak = abs(min(slept) - min(plain)) / injected
        if leak <= 0.02 and pair >= 1:
            return
    pytest.fail(f"leak {leak} of the sleep, charges without it {plain}, with it {slept}")


def test_slow_compilation_is_not_charged(plain, tmp_path, monkeypatch):
    without, _ = plain
    check, slept = guard.check_program, []

    def slow(jaxpr, what):
        time.sleep(0.5)
        slept.append(0.5)
        check(jaxpr, what)

    monkeypatch.setattr(guard, "check_program", slow)
    entry = registry.load_submission("schedule_free_adamw")
    bench = tiny_trial.bench(target=tiny_trial.UNREACHABLE)
    job = tiny_trial.job(engine.compile_programs(bench, entry, entry.resolve({})))
    assert job.programs.compile_s > sum(slept) >= 1.5
    outcomes = [tiny_trial.run(tmp_path / str(k), job)[0] for k in range(3)]
    assert min(abs(o.charged_s - without) for o in outcomes) <= 0.02 * sum(slept)
    assert {o.compilations_while_charged for o in outcomes} == {0}


def test_slow_build_is_charged_apart_to_every_trial(tmp_path):
    source = tiny_trial.write_submission(
        tmp_path,
        """
        import time

        DEFAULTS = {"learning_rate": 0.1}
        PERIOD = 26


        def build(problem, hparams):
            time.sleep(0.03)
            return optax.sgd(hparams["learning_rate"])
        """,
    )
    slow, reference = tiny_trial.programs(source), tiny_trial.programs("nadamw")
    points = [p.submission.resolve({}) for p in (slow, reference)]
    found = cost.cost(slow, reference, *points, 1.0, Clock())
    assert 0.03 - reference.build_s <= found.build_s < 0.3
    assert found.blocks == 5
    itself = cost.cost(reference, reference, points[1], points[1], 1.0, Clock())
    assert (itself.build_s, itself.factor) == (0.0, 1.0)
    outcome, events = tiny_trial.run(tmp_path, tiny_trial.job(slow, reference, build_s=found.build_s))
    assert outcome.build_s == found.build_s
    assert outcome.charged_s >= found.build_s
    assert events[0].submission_time_s == found.build_s + events[0].train_time_s


def test_slow_optimizer_init_is_charged(tmp_path):
    source = tiny_trial.write_submission(
        tmp_path,
        """
        DEFAULTS = {"learning_rate": 0.1}


        def build(problem, hparams):
            inner = optax.sgd(hparams["learning_rate"])

            def init(params):
                x = jnp.eye(256) + jax.tree.leaves(params)[0].ravel()[0]
                x = jax.lax.fori_loop(0, 150, lambda _, y: jnp.tanh(y @ x), x)
                return inner.init(params), x[0, 0]

            def update(updates, state, params=None):
                updates, after = inner.update(updates, state[0], params)
                return updates, (after, state[1])

            return optax.GradientTransformation(init, update)
        """,
    )
    programs = tiny_trial.programs(source)
    job = tiny_trial.job(programs, tiny_trial.programs("nadamw"))
    params, _ = programs.start(programs.key(7))
    hyper = programs.hyper(job.spec.hparams)
    alone = []
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(programs.opt_init(params, hyper))
        alone.append(time.perf_counter() - start)
    outcome, events = tiny_trial.run(tmp_path, job)
    assert outcome.init_s > 0.7 * min(alone)
    assert events[0].train_time_s > outcome.init_s
