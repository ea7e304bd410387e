"""Schedule-Free methods: NumPy transcriptions, what theory says of them, and where optax's own would go wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from algoperf_lite import registry, schedule_free, spec
from submissions import schedule_free_radam
from tests.submissions.driver import assert_agrees, drive
from tests.submissions.problem import NoisyQuadratic, noisy_quadratic

TRANSCRIBED = {"schedule_free_adamw_algoperf", "schedule_free_radam", "schedule_free_sgd"}
NAMES = sorted({*TRANSCRIBED, "schedule_free_adamw"})
STEPS = 50
BUDGET = 60
PROBLEM = noisy_quadratic(steps=STEPS, still=("b",))
TOLERANCE = 1e-10


def _follow(b1, plan):
    """Algorithm 1 with `plan(t, y, x, g) -> (weight, step of z)`, t from 1: pairs (y, x)."""
    y = {k: p.copy() for k, p in PROBLEM.start.items()}
    z, x, total = dict(y), dict(y), 0.0
    seen = [(dict(y), dict(x))]
    for t in range(1, STEPS + 1):
        weight, step = plan(t, y, x, PROBLEM.gradient(y, t - 1))
        total += weight
        c = weight / total if total else 0.0
        z = {k: z[k] + step[k] for k in z}
        x = {k: (1 - c) * x[k] + c * z[k] for k in x}
        y = {k: (1 - b1) * z[k] + b1 * x[k] for k in y}
        seen.append((dict(y), dict(x)))
    return seen


def _second_moment(b2):
    v = {k: np.zeros_like(p) for k, p in PROBLEM.start.items()}

    def update(g):
        for k in v:
            v[k] = b2 * v[k] + (1 - b2) * g[k] ** 2
        return v

    return update


@pytest.mark.parametrize("b1", [0.9, 0.0, 1.0])
def test_schedule_free_sgd_follows_its_paper_with_warmup_and_coupled_decay(b1):
    h = {"learning_rate": 0.3, "b1": b1, "weight_decay": 0.02, "warmup_fraction": 0.2, "weight_lr_power": 2.0}

    def plan(t, y, x, g):
        rate = h["learning_rate"] * min(t / 12, 1)
        return rate**2, {k: -rate * (g[k] + h["weight_decay"] * y[k]) for k in g}

    ours = drive("schedule_free_sgd", h, PROBLEM, STEPS, step_budget=BUDGET)
    assert_agrees("schedule_free_sgd", ours, _follow(b1, plan), TOLERANCE)


def test_schedule_free_radam_follows_its_package_with_its_silent_phase():
    h = {"learning_rate": 0.05, "b1": 0.9, "b2": 0.97, "eps": 1e-8, "weight_decay": 0.1, "weight_lr_power": 2.0}
    b2, moment, rates = h["b2"], _second_moment(h["b2"]), []

    def plan(t, y, x, g):
        v = moment(g)
        full = 2 / (1 - b2) - 1
        rho = full - 2 * t * b2**t / (1 - b2**t)
        rate = 0.0
        if rho > 4:
            rate = h["learning_rate"] * np.sqrt((rho - 4) * (rho - 2) * full / ((full - 4) * (full - 2) * rho))
        rates.append(rate)
        step = {k: -rate * (g[k] / (np.sqrt(v[k] / (1 - b2**t)) + h["eps"]) + h["weight_decay"] * y[k]) for k in g}
        return max(rates) ** 2, step

    theirs = _follow(h["b1"], plan)
    ours = drive("schedule_free_radam", h, PROBLEM, STEPS, step_budget=BUDGET)
    assert_agrees("schedule_free_radam", ours, theirs, TOLERANCE)
    assert [r > 0 for r in rates[:6]] == [False] * 4 + [True] * 2
    assert all(np.array_equal(a[k], PROBLEM.start[k]) for pair in ours[:5] for a in pair for k in a)


def test_schedule_free_adamw_algoperf_follows_the_entry_that_won():
    h = {
        "learning_rate": 0.05,
        "b1": 0.85,
        "b2": 0.97,
        "eps": 1e-8,
        "weight_decay": 0.3,
        "warmup_fraction": 0.2,
        "weight_lr_power": 2.0,
        "r": 0.75,
    }
    moment = _second_moment(h["b2"])

    def plan(t, y, x, g):
        v, rate = moment(g), h["learning_rate"] * min(t / 12, 1)
        size = rate * np.sqrt(1 - h["b2"] ** t)
        step = {k: -size * (g[k] / (np.sqrt(v[k]) + h["eps"]) + h["weight_decay"] * x[k]) for k in g}
        return t ** h["r"] * rate ** h["weight_lr_power"], step

    ours = drive("schedule_free_adamw_algoperf", h, PROBLEM, STEPS, step_budget=BUDGET)
    assert_agrees("schedule_free_adamw_algoperf", ours, _follow(h["b1"], plan), TOLERANCE)


def test_rectifier_in_single_precision_has_the_silent_phase_and_the_values_of_double():
    for b2 in (0.95, 0.98, 0.9955, 0.999):
        t = np.arange(1.0, 12.0)
        full = 2 / (1 - b2) - 1
        rho = full - 2 * t * b2**t / (1 - b2**t)
        square = (rho - 4) * (rho - 2) * full / ((full - 4) * (full - 2) * rho)
        found = schedule_free_radam.rectified(jnp.float32(1.0), jnp.float32(b2))(jnp.arange(11))
        np.testing.assert_allclose(found, np.sqrt(np.where(rho > 4, square, 0.0)), rtol=2e-3)


# ------------------------------------------------------------------------------------------------ identities


def _built(name, params, hparams, step_budget=100):
    """The submission and its transformation at a point in float32, names that it does not have left out."""
    entry = registry.load_submission(name)
    point = entry.resolve({k: v for k, v in hparams.items() if k in (entry.DEFAULTS or {})})
    point = {k: jnp.float32(v) for k, v in point.items() if k not in spec.RESERVED}
    return entry, entry.build(spec.Problem.from_params(params, step_budget=step_budget, batch_size=4), point)


def _run(tx, params, gradient, steps):
    """Parameters and state after some steps, as one scan: a state that changed its types would be refused."""

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(gradient(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), length=steps)[0])(params)


@pytest.mark.parametrize("dimension", [1, 5])
@pytest.mark.parametrize("b1", [0.0, 0.5, 0.9, 0.98, 1.0])
def test_gap_of_a_lipschitz_convex_function_keeps_the_papers_bound(dimension, b1):
    """Theorem 1: f(x_T) - f* <= D G / sqrt(T) at learning rate D / (G sqrt(T)), for any b1 in [0, 1]."""
    steps, shift = 200, jnp.linspace(1.0, 2.0, dimension)
    distance = jnp.linalg.norm(shift)

    def f(x):
        return jnp.max(jnp.abs(x - shift))  # G = 1 in the Euclidean norm

    h = {"learning_rate": distance / jnp.sqrt(steps), "b1": b1, "weight_decay": 0.0, "warmup_fraction": 0.0}
    entry, tx = _built("schedule_free_sgd", jnp.zeros(dimension), h)
    params, state = _run(tx, jnp.zeros(dimension), jax.grad(f), steps)
    assert f(entry.eval_params(state, params)) <= distance / np.sqrt(steps)


def test_without_interpolation_it_is_sgd_with_a_uniform_average():
    """b1 = 0, where optax's division by b1 gives NaN (G5)."""
    params, rate, steps = jnp.array([1.0, -2.0]), 0.1, 30
    h = {"learning_rate": rate, "b1": 0.0, "weight_decay": 0.0, "warmup_fraction": 0.0}
    entry, tx = _built("schedule_free_sgd", params, h)
    trained, state = _run(tx, params, lambda p: p, steps)
    iterates = np.array([(1 - rate) ** t * params for t in range(1, steps + 1)])
    np.testing.assert_allclose(trained, iterates[-1], rtol=1e-5)
    np.testing.assert_allclose(entry.eval_params(state, trained), iterates.mean(axis=0), rtol=1e-5)

    naive = optax.contrib.schedule_free_sgd(rate, b1=0.0)
    trained, state = _run(naive, params, lambda p: p, steps)
    assert np.isnan(optax.contrib.schedule_free_eval_params(state, trained)).all()


@pytest.mark.parametrize("b1", [0.0, 0.9, 1.0])
def test_with_all_weight_on_the_last_step_it_is_the_base_optimizer(b1):
    def growing(count):
        return 1e8 ** jnp.asarray(count, float)  # in float32, c = w_t / sum is exactly 1 for all but 1e8 of its inverse

    params, steps = jnp.array([1.0, -2.0]), 5
    tx = schedule_free.schedule_free(optax.sgd(0.1), growing, b1, weight_lr_power=1.0)
    trained, state = _run(tx, params, lambda p: p, steps)
    np.testing.assert_allclose(trained, 0.9**steps * params, rtol=1e-6)
    np.testing.assert_array_equal(schedule_free.eval_params(state, trained), state.z)


def test_weights_follow_the_largest_learning_rate_so_far():
    """A schedule that falls leaves the weights where they were: the average is uniform, though late steps are short."""

    def falling(count):
        return 0.1 / (1.0 + count)

    params, steps = jnp.array([1.0, -2.0]), 6
    tx = schedule_free.schedule_free(optax.sgd(falling), falling, 0.0)
    trained, state = _run(tx, params, lambda p: p, steps)
    iterates = np.cumprod([1 - 0.1 / (1 + t) for t in range(steps)])
    np.testing.assert_allclose(schedule_free.eval_params(state, trained), iterates.mean() * params, rtol=1e-6)


def test_without_gradients_the_winner_decays_at_x_and_the_package_at_y():
    still = NoisyQuadratic(
        {"w": np.array([1.0, -2.0])}, {"w": np.zeros(2)}, [{"w": np.full(2, float(t == 0))} for t in range(3)]
    )
    h = {"learning_rate": 0.1, "b1": 0.5, "b2": 0.9, "weight_decay": 1.0, "warmup_fraction": 0.0}
    for name, size, at in (("schedule_free_adamw", 0.1, 0), ("schedule_free_adamw_algoperf", 0.1 * np.sqrt(0.271), 1)):
        seen = drive(name, h, still, 3)
        (y2, x2), (y3, x3) = ((a["w"], b["w"]) for a, b in seen[2:])
        z2, z3 = 2 * y2 - x2, 2 * y3 - x3
        # g_3 is 0 and so is the adaptive step: z moves by the decay alone
        np.testing.assert_allclose(z3 - z2, -size * (y2, x2)[at], rtol=1e-10)


# ---------------------------------------------------------------------------------- where optax's would go wrong


def test_first_update_of_the_warmup_is_a_wth_of_the_learning_rate_and_optaxs_is_zero():
    """G1: optax starts its warm-up at 0 and weighs by the next step's learning rate."""
    params, grad = jnp.array([1.0, -2.0]), jnp.array([0.5, 3.0])
    h = {"learning_rate": 0.3, "b1": 0.9, "weight_decay": 0.0, "warmup_fraction": 0.1}
    _, tx = _built("schedule_free_sgd", params, h)
    np.testing.assert_allclose(tx.update(grad, tx.init(params), params)[0], -0.03 * grad, rtol=1e-6)

    naive = optax.contrib.schedule_free_sgd(0.3, warmup_steps=10)
    np.testing.assert_array_equal(naive.update(grad, naive.init(params), params)[0], jnp.zeros(2))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_evaluated_at_x_whatever_wraps_it(name):
    """G3: optax's reader of x needs the bare state and fails on that of a chain; y in its place is another point."""
    params = jnp.array([1.0, -2.0])
    entry, tx = _built(name, params, {"learning_rate": 0.1})
    trained, state = _run(tx, params, lambda p: p, 20)
    x = entry.eval_params(state, trained)
    assert np.max(np.abs(x - trained)) > 1e-3
    wrapped = optax.chain(optax.clip_by_global_norm(1e9), tx)
    again, outer = _run(wrapped, params, lambda p: p, 20)
    np.testing.assert_array_equal(entry.eval_params(outer, again), x)

    naive = optax.chain(optax.clip_by_global_norm(1.0), optax.contrib.schedule_free_sgd(0.1))
    with pytest.raises(AttributeError):
        optax.contrib.schedule_free_eval_params(naive.init(params), params)


@pytest.mark.parametrize("name", NAMES)
def test_scalars_of_bfloat16_parameters_are_float32(name):
    """G4: optax's sum of weights stops at 4 of 20, so that its average stops moving at a weight of 1/400."""
    params, steps = jnp.ones(2, jnp.bfloat16), 2000
    entry, tx = _built(name, params, {"learning_rate": 0.1, "warmup_fraction": 0.0, "r": 0.0, "b2": 0.8})
    trained, state = _run(tx, params, jnp.zeros_like, steps)
    assert state.weight_sum.dtype == state.largest.dtype == jnp.float32
    np.testing.assert_allclose(state.weight_sum, steps * 0.1**2, rtol=1e-2)  # less for RAdam, whose rate rises to 0.1
    assert trained.dtype == entry.eval_params(state, trained).dtype == jnp.bfloat16
    assert state.x.dtype == state.z.dtype == jnp.float32  # the harness widens what `build` gets

    naive = optax.contrib.schedule_free_sgd(0.1)
    _, state = _run(naive, params, jnp.zeros_like, steps)
    np.testing.assert_allclose(np.float64(state.weight_sum), 4.0, rtol=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_no_two_arrays_of_the_first_state_share_a_buffer(name):
    params = {"w": jnp.ones((3, 2)), "s": jnp.ones(())}
    _, tx = _built(name, params, {})
    leaves = jax.tree.leaves((params, tx.init(params)))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)
