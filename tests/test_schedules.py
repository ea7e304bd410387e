"""Schedules: published values, identities, optax's own where it has the same, one compilation for many settings."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algoperf_lite import contract, errors, schedules
from tests.conftest import ROOT

PLAIN = {"warmup_fraction": 0.0, "horizon_fraction": 1.0}

# Schedules that warm up, reach the peak and go down to `floor` at the horizon, as functions of what they share.
DECAYS = {
    "cosine": schedules.cosine,
    "linear": schedules.linear,
    "rex": schedules.rex,
    **{f"uba {phi}": functools.partial(schedules.uba, phi=phi) for phi in (0.25, 1.0, 5.0)},
    **{f"wsd {shape}": functools.partial(schedules.wsd, shape=shape) for shape in schedules.COOLDOWNS},
    "infinite cosine": functools.partial(
        schedules.infinite_cosine, cosine_fraction=0.3, annealing_fraction=0.2, constant=0.4
    ),
}
decay = pytest.mark.parametrize("name", DECAYS)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def _values(schedule, steps):
    """Values at counts 0 .. steps - 1."""
    padded = -(-steps // 256) * 256  # few shapes, so few compilations
    return np.asarray(schedule(jnp.arange(padded)))[:steps]


# Conventions


@decay
def test_first_update_end_of_warmup_last_update_and_beyond(name, x64):
    """H = 60, W = 12: (t + 1) / W, the peak at W - 1 and W, the floor from H on, one step above it at H - 1."""
    schedule = DECAYS[name](2.0, 80, warmup_fraction=0.2, horizon_fraction=0.75, floor=0.1)
    found = _values(schedule, 200)
    np.testing.assert_allclose(found[:12], 2.0 * np.arange(1, 13) / 12, rtol=1e-15)
    assert found[12] == 2.0
    assert 0.2 < found[59] < found[58]
    np.testing.assert_allclose(found[60:], 0.2, rtol=1e-15)


@decay
def test_ends_are_exact_for_any_number_of_steps(name):
    """49 * (1 / 49) is below 1, and a compiler may divide so."""

    def ends(steps):
        horizon = steps / 4096  # no rounding
        schedule = DECAYS[name](1.0, 4096, warmup_fraction=0.5, horizon_fraction=horizon, floor=0.0)
        return schedule(steps // 2 - 1), schedule(steps // 2), schedule(steps)

    found = jax.jit(jax.vmap(ends))(jnp.arange(10, 400))
    for values, expected in zip(found, (1.0, 1.0, 0.0), strict=True):
        np.testing.assert_array_equal(values, expected)


def test_no_warmup_starts_at_the_peak(x64):
    for build in DECAYS.values():
        assert build(2.0, 80, **PLAIN, floor=0.1)(0) == 2.0


def test_existing_schedules_keep_their_conventions(x64):
    """AlgoPerf's cosine starts at 0; the constant one at peak / W."""
    cosine = _values(schedules.warmup_cosine(2.0, 80, warmup_fraction=0.2, horizon_fraction=0.75), 62)
    np.testing.assert_allclose(cosine[:13], 2.0 * np.arange(13) / 12, rtol=1e-15)
    assert cosine[36] == pytest.approx(1.0, rel=1e-15)
    assert (cosine[60:] == 0).all()
    constant = _values(schedules.warmup_constant(2.0, 80, warmup_fraction=0.2), 20)
    np.testing.assert_allclose(constant, 2.0 * np.minimum(np.arange(1, 21) / 16, 1), rtol=1e-15)


def test_fractions_of_a_budget_are_whole_steps():
    """0.53 * 100 is under 53 in float32 and 0.29 * 100 under 29 in float64: plain int() would lose a step."""
    for x64 in (False, True):
        with jax.enable_x64(x64):
            for fraction, budget, steps in ((0.53, 100, 53), (0.21, 600, 126), (0.29, 100, 29), (0.57, 200, 114)):
                found = _values(schedules.warmup_constant(1.0, budget, warmup_fraction=fraction), 256)
                assert int(np.argmax(found == 1.0)) == steps - 1
    assert int(np.argmax(_values(schedules.warmup_constant(1.0, 100, warmup_fraction=0.999), 256) == 1.0)) == 98


@pytest.mark.parametrize("name", [*DECAYS, "wsd_s"])
def test_endless_horizon_is_constant(name):
    build = {**DECAYS, "wsd_s": schedules.wsd_s}[name]
    schedule = build(0.3, 100, warmup_fraction=0.0, horizon_fraction=1e9, floor=0.1)
    np.testing.assert_allclose(_values(schedule, 5000), 0.3, rtol=2e-7)


@decay
@pytest.mark.parametrize(("warmup", "horizon"), [(1.0, 1.0), (0.0, 0.0), (1.0, 0.01), (0.5, 0.02)])
def test_phases_without_steps_are_over_at_the_horizon(name, warmup, horizon):
    found = _values(DECAYS[name](1.0, 100, warmup_fraction=warmup, horizon_fraction=horizon, floor=0.1), 150)
    steps = round(100 * horizon)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[max(steps, 1) :], 0.1, rtol=1e-6)


@pytest.mark.parametrize(("warmup", "horizon"), [(1.0, 1.0), (0.0, 0.0), (1.0, 0.01), (0.5, 0.02)])
def test_warmup_cosine_is_zero_from_the_horizon_on(warmup, horizon):
    found = _values(schedules.warmup_cosine(1.0, 100, warmup_fraction=warmup, horizon_fraction=horizon), 150)
    np.testing.assert_allclose(found[round(100 * horizon) :], 0.0, atol=1e-7)


def test_cooldown_of_no_steps_drops_at_the_horizon():
    for shape in schedules.COOLDOWNS:
        schedule = schedules.wsd(1.0, 50, **PLAIN, cooldown_fraction=0.0, shape=shape, floor=0.25)
        np.testing.assert_array_equal(_values(schedule, 60), [1.0] * 50 + [0.25] * 10)


@decay
def test_floor_of_zero_ends_at_exactly_zero_without_nan(name):
    found = _values(DECAYS[name](1.0, 50, **PLAIN, floor=0.0), 60)
    assert np.isfinite(found).all()
    assert (found[50:] == 0).all()


# Published values


def test_rex_values():
    found = _values(schedules.rex(1.0, 4, **PLAIN), 5)
    np.testing.assert_allclose(found, [1, 0.8571, 0.6667, 0.4, 0], atol=5e-5)


def test_rex_as_in_pytorch_optimizer(x64):
    """pytorch_optimizer.lr_scheduler.REXScheduler (4.1.0), total_steps 8, max_lr 1.5, min_lr 0.1, steps 1 to 10."""
    theirs = [1.4066666666666667, 1.3, 1.176923076923077, 1.0333333333333332, 0.8636363636363635, 0.6599999999999999]
    theirs += [0.4111111111111111, 0.1, 0.1, 0.1]
    found = _values(schedules.rex(1.5, 8, **PLAIN, floor=0.1 / 1.5), 11)
    np.testing.assert_allclose(found[1:], theirs, rtol=1e-15)


@pytest.mark.parametrize(
    ("phi", "quarters"),
    [
        (0.0, (1, 1, 1)),
        (0.25, (0.9790, 0.8889, 0.5785)),
        (0.5, (0.9589, 0.8, 0.4070)),
        (1.0, (0.9210, 0.6667, 0.2555)),
        (2.0, (0.8536, 0.5, 0.1464)),
        (5.0, (0.6998, 0.2857, 0.0642)),
    ],
)
def test_uba_values(phi, quarters):
    found = _values(schedules.uba(1.0, 4, **PLAIN, phi=phi), 5)
    np.testing.assert_allclose(found[:4], [1, *quarters], atol=6e-5)
    assert found[4] == (phi == 0)


def test_uba_is_the_cosine_at_two_and_rex_in_the_cosines_time_at_one(x64):
    cosine = _values(schedules.cosine(1.0, 40, **PLAIN, floor=0.2), 50)
    np.testing.assert_allclose(_values(schedules.uba(1.0, 40, **PLAIN, phi=2.0, floor=0.2), 50), cosine, rtol=1e-14)
    v = _values(schedules.cosine(1.0, 40, **PLAIN), 50)  # 1 - u of REX in the cosine's time
    np.testing.assert_allclose(_values(schedules.uba(1.0, 40, **PLAIN, phi=1.0), 50), v / (0.5 + 0.5 * v), rtol=1e-14)


def test_cooldown_shapes_at_a_quarter_half_and_three_quarters(x64):
    """A cooldown of 4 steps; by hand from epfml/schedules-and-scaling, and 1 / (1 - x + x / floor) for WSD-S."""
    f = 0.2
    cos = [0.5 * (1 + math.cos(math.pi * x)) for x in (0.25, 0.5, 0.75)]
    shares = {
        "linear": (0.75, 0.5, 0.25),
        "1-sqrt": (0.5, 1 - math.sqrt(0.5), 1 - math.sqrt(0.75)),
        "square": (0.9375, 0.75, 0.4375),
        "cosine": cos,
        "mirror_cosine": (1.5 - cos[0], 1 - cos[1], 0.5 - cos[2]),
    }
    expected = {name: [f + (1 - f) * s for s in values] for name, values in shares.items()}
    expected["exponential"] = [f**0.25, f**0.5, f**0.75]
    expected["inverse"] = [1 / (0.75 + 0.25 / f), 1 / (0.5 + 0.5 / f), 1 / (0.25 + 0.75 / f)]
    assert set(expected) == set(schedules.COOLDOWNS)
    for shape, values in expected.items():
        found = _values(schedules.wsd(3.0, 20, **PLAIN, cooldown_fraction=0.2, shape=shape, floor=f), 23)
        np.testing.assert_allclose(found / 3, [1.0] * 17 + values + [f] * 3, rtol=1e-14, err_msg=shape)


TORCH_EXP_RANGE = [0.2, 0.4925, 0.7265, 0.910775, 1.05293, 0.77572775, 0.54543665, 0.3554464925, 0.2, 0.325911658925]
TORCH_EXP_RANGE += [0.426640986065, 0.50596533118775, 0.5671583974253, 0.44783191826208]


@pytest.mark.parametrize(
    ("mode", "gamma", "theirs"),
    [
        ("triangular", 1.0, [0.2, 0.525, 0.85, 1.175, 1.5, 1.175, 0.85, 0.525, 0.2, 0.525, 0.85, 1.175, 1.5, 1.175]),
        ("triangular2", 1.0, [0.2, 0.525, 0.85, 1.175, 1.5, 1.175, 0.85, 0.525, 0.2, 0.3625, 0.525, 0.6875, 0.85, 0.6875]),
        (
            "exp_range",
            0.9,
            TORCH_EXP_RANGE,
        ),
    ],
)
def test_cyclical_as_in_torch(mode, gamma, theirs, x64):
    """torch.optim.lr_scheduler.CyclicLR (2.13), base_lr 0.2, max_lr 1.5, step_size_up 4."""
    schedule = schedules.cyclical(1.5, 40, half_cycle_fraction=0.1, base=0.2 / 1.5, mode=mode, gamma=gamma)
    np.testing.assert_allclose(_values(schedule, 14), theirs, rtol=1e-14)


def test_power_values(x64):
    """beta = 256, a = 4.6, b = -0.51 at 1e9 to 1e12 tokens."""
    schedule = schedules.power(
        1.0, 10**7, **PLAIN, batch_size=256, tokens_per_example=1e9 / (256 * 1000), cooldown_fraction=0.0
    )
    found = [float(schedule(t)) for t in (10**3, 10**4, 10**5, 10**6)]
    np.testing.assert_allclose(found, [0.0303, 0.00935, 0.00289, 0.000893], rtol=2e-3)


def test_power_is_capped_and_does_not_know_the_horizon(x64):
    def build(budget):
        return schedules.power(0.02, budget, **PLAIN, batch_size=32, tokens_per_example=64, coefficient=0.1)

    short, long = _values(build(1000), 1001), _values(build(4000), 4001)
    np.testing.assert_array_equal(short[:900], long[:900])  # a cooldown of 0.1 from 900 on
    assert short[0] == 0.02
    assert 0 < short[899] < 0.02
    assert short[1000] == long[4000] == 0


def test_infinite_cosine_phases(x64):
    """H = 100: warm-up to 10, cosine to 50, constant to 80, exponential to 100."""
    found = _values(
        schedules.infinite_cosine(
            2.0,
            100,
            warmup_fraction=0.1,
            horizon_fraction=1.0,
            cosine_fraction=0.4,
            annealing_fraction=0.2,
            constant=0.4,
            floor=0.01,
        ),
        120,
    )
    assert found[30] == pytest.approx(2.0 * 0.7, rel=1e-14)
    np.testing.assert_allclose(found[50:81], 0.8, rtol=1e-15)
    np.testing.assert_allclose(found[80:101], 0.8 * (0.01 / 0.4) ** (np.arange(21) / 20), rtol=1e-13)
    np.testing.assert_allclose(found[100:], 0.02, rtol=1e-15)


def test_infinite_cosine_stays_continuous_where_phases_would_overlap(x64):
    build = functools.partial(schedules.infinite_cosine, constant=0.4, floor=0.01, **PLAIN)
    found = _values(build(1.0, 100, cosine_fraction=0.9, annealing_fraction=0.5), 101)
    assert found[50] == pytest.approx(0.4, rel=1e-15)
    assert found[100] == pytest.approx(0.01, rel=1e-15)
    assert np.abs(np.diff(found)).max() < 0.04


def test_inverse_sqrt_is_the_transformers_and_t5s(x64):
    n = np.arange(1, 301)
    transformer = schedules.inverse_sqrt(0.5, 400, warmup_fraction=0.1)
    np.testing.assert_allclose(_values(transformer, 300), 0.5 * np.minimum(n / 40, np.sqrt(40 / n)), rtol=1e-14)
    t5 = schedules.inverse_sqrt(1.0, 400, warmup_fraction=0.0, hold_fraction=0.25)
    np.testing.assert_allclose(_values(t5, 300), np.sqrt(100) / np.sqrt(np.maximum(n, 100)), rtol=1e-14)


def test_wsd_s_restarts_at_the_peak_after_each_end(x64):
    """H = 80, ends at 20, 40, 80, cooldowns of 4, 4 and 8 steps."""
    schedule = schedules.wsd_s(2.0, 100, warmup_fraction=0.05, horizon_fraction=0.8, cooldown_fraction=0.2, floor=0.1)
    found = _values(schedule, 100)
    shape = [1 / ((1 - x) / 2.0 + x / 0.2) for x in np.arange(8) / 8]
    np.testing.assert_allclose(found[:4], [0.5, 1.0, 1.5, 2.0], rtol=1e-15)
    for end, steps in ((20, 4), (40, 4), (80, 8)):
        np.testing.assert_allclose(found[end - steps : end], shape[:: 8 // steps], rtol=1e-14)
    for start, stop in ((4, 17), (20, 37), (40, 73)):
        np.testing.assert_array_equal(found[start:stop], 2.0)
    np.testing.assert_allclose(found[80:], 0.2, rtol=1e-15)


# Sums, and the theory's bound for whole schedules


def _annealing_areas(eta, momentum=0.999):
    """S1 and S2 of the law with learning-rate annealing (arXiv 2408.11029)."""
    m, areas = 0.0, []
    for drop in -np.diff(eta):
        m = momentum * m + drop
        areas.append(m)
    return np.sum(eta), np.sum(areas)


@pytest.mark.parametrize(
    ("schedule", "areas"),
    [
        (schedules.warmup_constant(3e-4, 21840, warmup_fraction=0.0), (6.552, 0)),
        (schedules.cosine(3e-4, 21840, **PLAIN, floor=0.1), (3.60373, 0.26726)),
        (schedules.linear(3e-4, 21840, **PLAIN), (3.27615, 0.28626)),
        (
            schedules.wsd(3e-4, 21840, **PLAIN, cooldown_fraction=4000 / 21840, shape="linear", floor=0.1),
            (6.01213, 0.20373),
        ),
    ],
    ids=["constant", "cosine", "linear", "wsd"],
)
def test_annealing_areas_of_a_long_run(schedule, areas, x64):
    np.testing.assert_allclose(_annealing_areas(_values(schedule, 21840)), areas, atol=5e-6)


def _best_bound(eta):
    """Best learning rate and last-iterate bound for D = G = 1 (arXiv 2310.07831, as in 2501.18965)."""
    steps = len(eta)
    tail = np.cumsum(eta[::-1])[::-1]
    squares = np.cumsum(eta[::-1] ** 2)[::-1]
    first = 0.5 / tail[0]
    rest = 0.5 * squares[0] / tail[0]
    rest += 0.5 * sum(eta[k] / tail[k + 1] * squares[k] / tail[k] for k in range(steps - 1))
    return math.sqrt(first / rest), 2 * math.sqrt(first * rest)


@pytest.mark.parametrize(
    ("schedule", "best", "bound"),
    [
        (schedules.warmup_constant(1.0, 100, warmup_fraction=0.0), 0.040234, 0.248543),
        (schedules.linear(100 / 101, 100, **PLAIN), 0.098228, 0.203608),
        (schedules.cosine(1.0, 100, **PLAIN), 0.094695, 0.209114),
        (schedules.inverse_sqrt(1.0, 100, warmup_fraction=0.0), 0.238750, 0.225314),
    ],
    ids=["constant", "linear", "cosine", "inverse_sqrt"],
)
def test_last_iterate_bound_of_a_schedule(schedule, best, bound, x64):
    np.testing.assert_allclose(_best_bound(_values(schedule, 100)), (best, bound), rtol=2e-5)


def test_sums_of_learning_rates(x64):
    """Over H = 60 steps after no warm-up: cosine and linear (H + 1) / 2; a warm-up of W adds (W + 1) / 2."""
    for build in (schedules.cosine, schedules.linear):
        assert _values(build(1.0, 60, **PLAIN), 60).sum() == pytest.approx(30.5, rel=1e-14)
        warm = _values(build(1.0, 60, warmup_fraction=0.2, horizon_fraction=1.0), 60)
        assert warm.sum() == pytest.approx(6.5 + 24.5, rel=1e-14)
    wsd = _values(schedules.wsd(1.0, 60, **PLAIN, cooldown_fraction=0.5, shape="linear"), 60)
    assert wsd.sum() == pytest.approx(30 + 15.5, rel=1e-14)
    triangle = _values(schedules.cyclical(1.0, 60, half_cycle_fraction=0.1, base=0.0), 60)
    assert triangle.sum() == pytest.approx(30, rel=1e-14)


# optax


def test_same_as_optax_where_it_has_the_schedule(x64):
    peak, horizon, warmup, floor = 0.3, 80, 10, 0.1
    warm = {"warmup_fraction": 0.125, "horizon_fraction": 0.8}
    cold = {"warmup_fraction": 0.0, "horizon_fraction": 0.8}
    rising = optax.linear_schedule(peak / warmup, peak, warmup - 1)
    rest = horizon - warmup
    pairs = [
        (schedules.warmup_cosine(peak, 100, **warm), optax.warmup_cosine_decay_schedule(0.0, peak, warmup, horizon)),
        (
            schedules.warmup_constant(peak, 80, warmup_fraction=0.125),
            optax.warmup_constant_schedule(peak / warmup, peak, warmup - 1),
        ),
        (schedules.cosine(peak, 100, **cold, floor=floor), optax.cosine_decay_schedule(peak, horizon, alpha=floor)),
        (
            schedules.cosine(peak, 100, **warm, floor=floor),
            optax.join_schedules([rising, optax.cosine_decay_schedule(peak, rest, alpha=floor)], [warmup]),
        ),
        (schedules.linear(peak, 100, **cold, floor=floor), optax.linear_schedule(peak, floor * peak, horizon)),
        (
            schedules.linear(peak, 100, **warm),
            optax.join_schedules([rising, optax.linear_schedule(peak, 0.0, rest)], [warmup]),
        ),
        (
            schedules.wsd(peak, 100, **warm, shape="linear", floor=floor, cooldown_fraction=0.25),
            optax.join_schedules([rising, optax.linear_schedule(peak, floor * peak, 20, 50)], [warmup]),
        ),
        (
            schedules.wsd(peak, 100, **warm, shape="cosine", floor=floor, cooldown_fraction=0.25),
            optax.join_schedules(
                [rising, optax.constant_schedule(peak), optax.cosine_decay_schedule(peak, 20, alpha=floor)],
                [warmup, 60],
            ),
        ),
        (
            schedules.wsd(peak, 100, **cold, shape="exponential", floor=floor, cooldown_fraction=0.25),
            optax.exponential_decay(peak, 20, floor, 60, end_value=floor * peak),
        ),
        (
            schedules.lr_range(1e-4, peak, 101, horizon_fraction=0.81),
            optax.exponential_decay(1e-4, 80, peak / 1e-4, end_value=peak),
        ),
        (
            schedules.lr_range(1e-4, peak, 101, horizon_fraction=0.81, spacing="linear"),
            optax.linear_schedule(1e-4, peak, 80),
        ),
    ]
    for number, (ours, theirs) in enumerate(pairs):
        expected = np.asarray(jax.vmap(theirs)(jnp.arange(100)))
        np.testing.assert_allclose(_values(ours, 100), expected, rtol=1e-12, atol=1e-16, err_msg=str(number))


# Traced numbers, types


NORMS = np.r_[4.0, 2, 1, 1, 1, 1, 1, 1.5, 2, 3]


def _build(name, a, b, c, d):
    """The schedule `name` with every number from a (a rate), b, c, d (within 0.05 .. 0.3), budget 200."""
    shared = {"warmup_fraction": b, "horizon_fraction": 1 - c}
    return {
        "warmup_cosine": lambda: schedules.warmup_cosine(a, 200, **shared),
        "warmup_constant": lambda: schedules.warmup_constant(a, 200, warmup_fraction=b),
        "cosine": lambda: schedules.cosine(a, 200, **shared, floor=d),
        "linear": lambda: schedules.linear(a, 200, **shared, floor=d),
        "rex": lambda: schedules.rex(a, 200, **shared, floor=d),
        "uba": lambda: schedules.uba(a, 200, **shared, phi=10 * c, floor=d),
        "wsd": lambda: schedules.wsd(a, 200, **shared, cooldown_fraction=c, floor=d),
        "wsd_s": lambda: schedules.wsd_s(a, 200, **shared, end_fractions=[c, 2 * c, 1.0], cooldown_fraction=d, floor=b),
        "infinite_cosine": lambda: schedules.infinite_cosine(
            a, 200, **shared, cosine_fraction=c, annealing_fraction=d, constant=d, floor=d / 10
        ),
        "cyclical": lambda: schedules.cyclical(a, 200, half_cycle_fraction=b, base=c, mode="exp_range", gamma=1 - d / 100),
        "power": lambda: schedules.power(
            a,
            200,
            **shared,
            batch_size=100 * b,
            tokens_per_example=100 * c,
            coefficient=d,
            exponent=-c,
            cooldown_fraction=c,
            floor=d,
        ),
        "inverse_sqrt": lambda: schedules.inverse_sqrt(a, 200, warmup_fraction=b, hold_fraction=c),
        "refined": lambda: schedules.refined(a, 200, NORMS, horizon_fraction=1 - c),
        "lr_range": lambda: schedules.lr_range(a * b, a, 200, horizon_fraction=1 - c),
    }[name]()


NOT_SCHEDULES = {"COOLDOWNS", "CYCLES", "REFINEMENTS", "SPACINGS", "RangeReading", "Schedule"}
NOT_SCHEDULES |= {"read_lr_range", "refined_multipliers"}
every_schedule = pytest.mark.parametrize("name", sorted(set(schedules.__all__) - NOT_SCHEDULES))


@every_schedule
def test_one_compilation_serves_many_settings(name):
    traces = []

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, 0, 0, 0, None))
    def found(a, b, c, d, counts):
        traces.append(name)
        return _build(name, a, b, c, d)(counts)

    draw = np.random.default_rng(0)
    counts = jnp.arange(220)
    for _ in range(2):
        numbers = np.r_[draw.uniform(1e-3, 1, (1, 5)), draw.uniform(0.05, 0.3, (3, 5))].astype(np.float32)
        batch = found(*numbers, counts)
        assert len({tuple(row) for row in np.asarray(batch)}) == 5
        for row, (a, b, c, d) in zip(batch, numbers.T, strict=True):
            alone = pytest.approx(_values(_build(name, a, b, c, d), 220), rel=2e-5, abs=1e-7)
            assert np.asarray(row) == alone
    assert len(traces) == 1


@every_schedule
def test_value_is_a_strong_scalar_of_the_default_float_type(name):
    for x64, expected in ((False, jnp.float32), (True, jnp.float64)):
        with jax.enable_x64(x64):
            for peak in (1, 0.5, jnp.bfloat16(0.5), np.float64(0.5)):
                schedule = _build(name, peak, 0.1, 0.2, 0.1)
                for count in (3, np.int32(3), jnp.int32(3), np.uint8(3)):
                    value = jax.eval_shape(lambda s=schedule, t=count: s(t))
                    assert (value.dtype, value.shape, value.weak_type) == (expected, (), False)


@every_schedule
def test_float64_is_not_rounded_to_float32_on_the_way(name):
    numbers = (1 / 3, 0.1, 0.2, 0.1)
    with jax.enable_x64(True):
        exact = _values(_build(name, *numbers), 220)
    single = _values(_build(name, *numbers), 220)
    assert exact.dtype == np.float64
    np.testing.assert_allclose(single, exact, rtol=3e-5, atol=1e-7)
    assert np.mean(exact == exact.astype(np.float32)) < 0.5  # float32 on the way would leave most so


def test_float64_values_are_those_of_numpy(x64):
    peak, horizon, warmup = 1 / 3, 700, 70
    t = np.arange(horizon + 10)
    rise = np.minimum((t + 1) / warmup, 1)
    u = np.clip((t - warmup) / (horizon - warmup), 0, 1)
    x = np.clip((t - 560) / 140, 0, 1)
    c = 1 + np.cos(np.pi * u)
    shared = {"warmup_fraction": 0.1, "horizon_fraction": 0.7}
    for found, share in (
        (schedules.cosine(peak, 1000, **shared, floor=0.1), 0.1 + 0.9 * c / 2),
        (schedules.linear(peak, 1000, **shared), 1 - u),
        (schedules.rex(peak, 1000, **shared), (1 - u) / (0.5 + 0.5 * (1 - u))),
        (schedules.uba(peak, 1000, **shared, phi=0.7), 2 * c / (1.4 + 1.3 * c)),
        (schedules.wsd(peak, 1000, **shared), 1 - np.sqrt(x)),
    ):
        np.testing.assert_allclose(_values(found, len(t)), peak * rise * share, rtol=1e-12, atol=1e-17)


# Properties


def _modulus(name, steps, floor):
    """Largest change of a shape over one of `steps` steps, at least."""
    if steps == 0:
        return 1.0
    slope = {"linear": 1, "cosine": math.pi / 2, "rex": 2, "square": 2, "mirror_cosine": 2}
    slope |= {"exponential": -math.log(floor), "inverse": 1 / floor}
    kind = name.removeprefix("wsd ")
    return math.sqrt(1 / steps) if kind == "1-sqrt" else slope[kind] / steps


@functools.cache
def _program(name):
    """values(peak, budget, warmup_fraction, horizon_fraction, floor) at counts 0 .. 299, compiled once."""
    build = {**DECAYS, "wsd_s": schedules.wsd_s}[name]

    def values(peak, budget, warmup, horizon, floor):
        schedule = build(peak, budget, warmup_fraction=warmup, horizon_fraction=horizon, floor=floor)
        return schedule(jnp.arange(300))

    return jax.jit(values)


numbers = given(
    peak=st.floats(1e-5, 100),
    budget=st.integers(1, 250),
    warmup=st.floats(0, 0.7),
    horizon=st.floats(0.2, 1.2),
    floor=st.floats(0.001, 0.4),
)


@decay
@settings(max_examples=50, deadline=None)
@numbers
def test_decays_stay_within_floor_and_peak_rise_then_fall_without_jumps(name, peak, budget, warmup, horizon, floor):
    with jax.enable_x64(True):
        found = np.asarray(_program(name)(peak, budget, warmup, horizon, floor)) / peak
    steps = math.floor(horizon * budget + 1e-3)
    rising = math.floor(warmup * steps + 1e-3)
    assert (found > 0).all()
    assert (found <= 1 + 1e-15).all()
    assert (found[rising:] >= floor * (1 - 1e-12)).all()
    assert (np.diff(found[max(rising - 1, 0) :]) <= 1e-14).all()
    if not name.startswith(("uba", "infinite")):
        decaying = math.floor(0.2 * steps + 1e-3) if name.startswith("wsd") else steps - rising
        bound = _modulus(name, decaying, floor) + (1 / rising if rising else 0)
        assert np.abs(np.diff(found)).max() <= bound + 1e-12


@settings(max_examples=50, deadline=None)
@numbers
def test_wsd_s_stays_within_its_bounds_and_only_rises_at_stage_ends(peak, budget, warmup, horizon, floor):
    with jax.enable_x64(True):
        found = np.asarray(_program("wsd_s")(peak, budget, warmup, horizon, floor)) / peak
    steps = math.floor(horizon * budget + 1e-3)
    rising = math.floor(warmup * steps + 1e-3)
    assert (found > 0).all()
    assert (found <= 1 + 1e-15).all()
    rises = set(np.flatnonzero(np.diff(found) > 1e-12) + 1)
    assert rises <= set(range(rising)) | {math.floor(e * steps + 1e-3) for e in (0.25, 0.5)}


@settings(max_examples=50, deadline=None)
@given(
    norms=st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=60),
    smoothing=st.floats(0, 1),
    norm=st.sampled_from(["l1", "l2"]),
    unit=st.integers(-150, 150).map(lambda power: 10.0**power),
)
def test_refined_multipliers_are_between_zero_and_one_and_have_no_unit(norms, smoothing, norm, unit):
    found = schedules.refined_multipliers(norms, smoothing=smoothing, norm=norm)
    assert found.max() == 1
    assert found.min() == found[-1] == 0
    scaled = schedules.refined_multipliers(unit * np.array(norms), smoothing=smoothing, norm=norm)
    np.testing.assert_allclose(scaled, found, rtol=1e-9)


# Refined schedules


def test_refined_values():
    """Gradient norms 4, 2, 1, 1, 1, 1, 1, 1.5, 2, 3 without smoothing: a warm-up and a fast end."""
    found = schedules.refined_multipliers(NORMS, smoothing=0.0)
    expected = [0.07876, 0.30202, 1, 0.79191, 0.58382, 0.37572, 0.16763, 0.03340, 0.00578, 0]
    np.testing.assert_allclose(found, expected, atol=5e-6)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_constant_norms_refine_to_linear_decay(norm):
    found = schedules.refined_multipliers(np.full(10, 7.0), norm=norm)
    np.testing.assert_allclose(found, np.arange(9, -1, -1) / 9, rtol=1e-14)


def test_l1_norms_weigh_as_roots_of_l2_norms():
    l1 = schedules.refined_multipliers(NORMS**2, norm="l1", smoothing=0.0)
    np.testing.assert_allclose(l1, schedules.refined_multipliers(NORMS, smoothing=0.0), rtol=1e-14)


def test_smoothing_is_a_median_of_a_tenth_of_the_steps():
    """A spike of 4 steps in 100 is gone (width 11), one of 6 is not; the last steps are reflected, the first repeated."""
    linear = np.arange(99, -1, -1) / 99
    for width, gone in ((4, True), (5, True), (6, False)):
        spiky = np.ones(100)
        spiky[50 : 50 + width] = 30.0
        assert np.allclose(schedules.refined_multipliers(spiky), linear) == gone
    first, last = np.ones(100), np.ones(100)
    first[0] = last[-3:] = 9.0
    # Of the 11 around step 0 five are copies of it, a majority of 6. At the end step 99 is not doubled: steps 97 to 99 and
    # the reflected 98 and 97 are 5 of 11.
    assert not np.allclose(schedules.refined_multipliers(first), linear)
    assert np.allclose(schedules.refined_multipliers(last), linear)


def test_refined_schedule_is_its_multipliers_step_by_step_and_stretches(x64):
    multipliers = schedules.refined_multipliers(NORMS, smoothing=0.0)
    same = _values(schedules.refined(3.0, 20, NORMS, horizon_fraction=0.5, smoothing=0.0), 15)
    np.testing.assert_array_equal(same, 3.0 * np.r_[multipliers, np.zeros(5)])
    longer = _values(schedules.refined(3.0, 19, NORMS, horizon_fraction=1.0, smoothing=0.0), 19)
    np.testing.assert_allclose(longer[::2], 3.0 * multipliers, rtol=1e-14)
    np.testing.assert_allclose(longer[1::2], 1.5 * (multipliers[1:] + multipliers[:-1]), rtol=1e-14)


@pytest.mark.parametrize("norms", [[1.0], [[1.0, 2.0]], [1.0, 0.0], [1.0, -1.0], [1.0, np.nan], [1.0, np.inf], []])
def test_norms_that_are_not_positive_numbers_are_refused(norms):
    with pytest.raises(errors.UserError, match="2 or more positive finite numbers"):
        schedules.refined_multipliers(norms)


# Range test


def test_lr_range_goes_from_start_to_end_and_stays(x64):
    found = _values(schedules.lr_range(1e-7, 10.0, 100, horizon_fraction=0.5), 60)
    assert found[0] == pytest.approx(1e-7, rel=1e-15)
    np.testing.assert_allclose(found[49:], 10.0, rtol=1e-15)
    np.testing.assert_allclose(found[1:50] / found[:49], 1e8 ** (1 / 49), rtol=1e-12)
    linear = _values(schedules.lr_range(0.1, 5.0, 100, horizon_fraction=0.5, spacing="linear"), 60)
    np.testing.assert_allclose(linear[:50], np.linspace(0.1, 5.0, 50), rtol=1e-14)


def _by_loop(rates, losses, smoothing=0.98, skip=0.1):
    """The reading as a loop over batches: average, bias correction, stop at four times the best."""
    average, best, seen = 0.0, math.inf, []
    for batch, loss in enumerate(losses, start=1):
        average = smoothing * average + (1 - smoothing) * loss
        corrected = average / (1 - smoothing**batch)
        if not math.isfinite(corrected) or corrected > 4 * best:
            break
        best = min(best, corrected)
        seen.append(corrected)
    first = int(skip * len(losses))
    slopes = {
        (seen[i + 1] - seen[i]) / (math.log(rates[i + 1]) - math.log(rates[i])): rates[i]
        for i in range(first, len(seen) - 1)
    }
    lowest = min(range(first, len(seen)), key=lambda i: seen[i])
    return slopes[min(slopes)], rates[lowest] / 10, len(seen), seen


def _curve(seed=0, points=200):
    """A noisy curve: flat, falling around 1e-3, lowest near 1e-1, then exploding."""
    rates = np.geomspace(1e-7, 10, points)
    noise = np.random.default_rng(seed).normal(scale=0.05, size=points)
    return rates, 2.5 - 1.5 / (1 + (1e-3 / rates) ** 1.2) + 0.3 * rates**3 + noise


@pytest.mark.parametrize("seed", range(4))
def test_reading_is_that_of_the_loop(seed, x64):
    rates, losses = _curve(seed)
    losses[-12:] *= np.geomspace(1.5, 1e4, 12)
    steepest, tenth, stop, seen = _by_loop(rates, losses)
    found = schedules.read_lr_range(rates, losses)
    assert stop < 200
    assert int(found.stop) == stop
    np.testing.assert_allclose(found.smoothed[:stop], seen, rtol=1e-12)
    np.testing.assert_allclose([found.steepest, found.tenth_of_minimum], [steepest, tenth], rtol=1e-12)


def test_reading_of_curves_with_a_known_answer(x64):
    """Without smoothing, a parabola in log rate with its minimum at 1e-2; and a sigmoid, steepest at 1e-4."""
    rates = np.geomspace(1e-6, 1, 61)
    logs = np.log10(rates)
    parabola = schedules.read_lr_range(rates, 1 + (logs + 2) ** 2, smoothing=0.0)
    assert float(parabola.tenth_of_minimum) == pytest.approx(1e-3, rel=1e-12)
    sigmoid = schedules.read_lr_range(rates, 3 - np.tanh(2 * (logs + 4.05)), smoothing=0.0)
    assert float(sigmoid.steepest) == pytest.approx(1e-4 * 10**-0.1, rel=1e-12)
    assert int(sigmoid.stop) == 61


def test_smoothing_is_bias_corrected():
    found = schedules.read_lr_range(np.geomspace(1e-3, 1, 61), np.full(61, 2.0))
    np.testing.assert_allclose(found.smoothed, 2.0, rtol=1e-5)
    assert int(found.stop) == 61


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_points_after_a_loss_that_is_not_finite_are_not_read(bad, x64):
    rates, losses = np.geomspace(1e-4, 1, 61), np.linspace(2, 1, 61)
    losses[30] = bad
    losses[31:] = 1e-9
    found = schedules.read_lr_range(rates, losses)
    assert int(found.stop) == 30
    assert float(found.tenth_of_minimum) == pytest.approx(rates[29] / 10, rel=1e-12)


def test_divergence_is_measured_from_the_smallest_loss_so_far(x64):
    rates = np.geomspace(1e-4, 1, 61)
    for low, threshold in ((1.0, 4.0), (-1.0, 2.0)):  # a negative smallest allows as much above it
        losses = np.full(61, low)
        losses[10] = threshold - 1e-6
        losses[15] = threshold + 1e-6
        assert int(schedules.read_lr_range(rates, losses, smoothing=0.0).stop) == 15


def test_reading_of_nothing_is_nan():
    rates = np.geomspace(1e-4, 1, 61)
    found = schedules.read_lr_range(rates, np.full(61, np.nan))
    assert int(found.stop) == 0
    assert np.isnan(found.steepest)
    assert np.isnan(found.tenth_of_minimum)


def test_reading_is_traceable():
    rates, curves = _curve()[0], np.stack([_curve(seed)[1] for seed in range(3)])
    together = jax.jit(jax.vmap(functools.partial(schedules.read_lr_range, rates)))(curves)
    for i, losses in enumerate(curves):
        alone = schedules.read_lr_range(rates, losses)
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-4), together, alone)


# Names, and the page


@pytest.mark.parametrize(
    ("build", "known"),
    [
        (lambda: schedules.wsd(1.0, 10, **PLAIN, shape="lineer"), schedules.COOLDOWNS),
        (lambda: schedules.wsd_s(1.0, 10, **PLAIN, shape="lineer"), schedules.COOLDOWNS),
        (
            lambda: schedules.power(1.0, 10, **PLAIN, batch_size=1, tokens_per_example=1, shape="lineer"),
            schedules.COOLDOWNS,
        ),
        (lambda: schedules.cyclical(1.0, 10, half_cycle_fraction=0.1, base=0.1, mode="lineer"), schedules.CYCLES),
        (lambda: schedules.refined(1.0, 10, NORMS, horizon_fraction=1.0, norm="lineer"), schedules.REFINEMENTS),
        (lambda: schedules.lr_range(0.1, 1.0, 10, horizon_fraction=1.0, spacing="lineer"), schedules.SPACINGS),
    ],
)
def test_wrong_names_are_refused_with_the_accepted_ones(build, known):
    with pytest.raises(errors.UserError, match="'lineer'") as refusal:
        build()
    for name in known:
        assert name in str(refusal.value)
    assert ("did you mean 'linear'?" in str(refusal.value)) == ("linear" in known)


def test_page_has_every_schedule_and_its_example_passes_every_check(tmp_path):
    page = (ROOT / "docs" / "schedules.md").read_text()
    assert set(schedules.__all__) - {"Schedule"} <= set(re.findall(r"`(\w+)[`(]", page))
    for shape in schedules.COOLDOWNS:
        assert f'`"{shape}"`' in page
    source = re.findall(r"```python\n(.*?)```", page, re.S)[0]
    file = tmp_path / "example.py"
    file.write_text(source)
    results = list(contract.validate_submission(str(file), quick=True))
    assert len(results) > 5
    assert [r for r in results if not r.ok] == []
