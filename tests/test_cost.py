"""Cost factors and step caps (P4), exact by a fake clock; the compile bound (P2)."""

import dataclasses
import itertools

import jax
import pytest

from algoperf_lite import cost, errors
from algoperf_lite.clock import Clock
from tests import tiny_trial


def _slow(seconds, now, **fields):
    """The tiny workload's `adamw`, whose chunk takes the given fake seconds."""
    base = tiny_trial.programs("adamw")
    return dataclasses.replace(base, chunk=now.takes(seconds, base.chunk), **fields)


def _measure(entrant, reference, now, factor=1.0):
    points = entrant.submission.resolve({}), reference.submission.resolve({})
    return cost.cost(entrant, reference, *points, factor, Clock(now))


@pytest.fixture
def now():
    return tiny_trial.FakeTime()


def _reference(seconds, now):
    base = tiny_trial.programs("nadamw")
    return dataclasses.replace(base, chunk=now.takes(seconds, base.chunk))


def test_entrant_twice_as_slow_costs_two_and_has_half_the_steps(now):
    found = _measure(_slow(2.0, now), _reference(1.0, now), now)
    assert (found.factor, found.step_cap, found.blocks) == (2.0, 80, 20)
    assert found.reference_step_s == 1.0 / 8


def test_entrant_twice_as_fast_costs_half_and_has_twice_the_steps(now):
    found = _measure(_slow(0.5, now), _reference(1.0, now), now)
    assert (found.factor, found.step_cap) == (0.5, 320)


def test_ruleset_factor_multiplies_the_cap_and_the_cap_is_a_multiple_of_the_interval(now):
    found = _measure(_slow(1.1, now), _reference(1.0, now), now, factor=1.5)
    assert found.factor == pytest.approx(1.1, rel=1e-12)
    assert found.step_cap == 216  # 160 * 1.5 / 1.1 = 218.2, down to a multiple of 8


def test_machine_that_slows_down_steadily_does_not_move_the_factor(now):
    """A straight drift cancels within every ABBA block; AB pairs would read it as a cost."""
    ticks = itertools.count(100)

    def drifting():
        return float(next(ticks))

    found = _measure(_slow(drifting, now), _reference(drifting, now), now)
    assert found.factor == 1.0


def test_a_few_disturbed_blocks_do_not_move_the_median(now):
    calls = itertools.count()

    def disturbed():
        return 50.0 if next(calls) in (5, 6, 17) else 2.0

    assert _measure(_slow(disturbed, now), _reference(1.0, now), now).factor == 2.0


def test_period_longer_than_the_interval_makes_longer_blocks(now):
    calls = []
    entrant = _slow(lambda: calls.append(0) or (9.0 if len(calls) % 4 == 1 else 1.0), now)
    entrant = dataclasses.replace(entrant, submission=dataclasses.replace(entrant.submission, PERIOD=32))
    found = _measure(entrant, _reference(1.0, now), now)
    assert (found.factor, found.blocks) == (3.0, 5)  # (9 + 1 + 1 + 1) / 4 in every block of four chunks


def test_reference_file_itself_costs_exactly_one(now):
    found = _measure(_reference(1.0, now), _reference(1.0, now), now)
    assert (found.factor, found.blocks, found.build_s, found.step_cap) == (1.0, 0, 0.0, 160)


def test_compilation_over_ten_times_the_references_is_refused(now, monkeypatch):
    reference = tiny_trial.programs("nadamw")
    monkeypatch.setattr(cost, "compile_programs", lambda *a: dataclasses.replace(reference, compile_s=7.0))
    with pytest.raises(errors.UserError, match="compilation took 71 s, the reference's 7 s"):
        _measure(_slow(1.0, now, compile_s=71.0), _reference(1.0, now), now)
    assert _measure(_slow(1.0, now, compile_s=69.0), _reference(1.0, now), now).compile_s == 69.0


def test_uncached_compilation_does_not_read_the_persistent_cache():
    hits = []

    def listen(event, **_):
        if event == "/jax/compilation_cache/cache_hits":
            hits.append(event)

    jax.monitoring.register_event_listener(listen)
    shape = jax.ShapeDtypeStruct((7, 3), "float32")

    def compile_it():
        jax.jit(lambda x: x * 3 + 1.25).lower(shape).compile()

    compile_it()
    compile_it()
    cached = len(hits)
    assert cached > 0
    with cost.uncached():
        compile_it()
    assert len(hits) == cached
    compile_it()
    assert len(hits) > cached
