"""Distance-based methods and coin betting: NumPy transcriptions, invariances, and where optax's own would go wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from algoperf_lite import averaging, registry, spec
from tests.submissions.driver import assert_agrees, deviation, drive
from tests.submissions.problem import NoisyQuadratic, noisy_quadratic

TRANSCRIBED = {"adagrad_norm", "cocob", "dowg", "ldog", "tdog"}
STEPS = 50
BUDGET = 60
PROBLEM = noisy_quadratic({"w": (4, 6), "b": (4,), "s": ()}, steps=STEPS, still=("b",))
TOLERANCE = 1e-10


def _norm(tree):
    return np.sqrt(sum(np.sum(p**2) for p in tree.values()))


def _minus(a, b):
    return {k: a[k] - b[k] for k in a}


def _follow(plan, alpha=None, weight_decay=0.0, problem=PROBLEM):
    """x <- plan(t, x, g), g with coupled decay and t from 1; evaluated at the polynomial average if there is an alpha."""
    x = {k: p.copy() for k, p in problem.start.items()}
    average = dict(x)
    seen = [(dict(x), dict(average))]
    for t in range(1, STEPS + 1):
        g = problem.gradient(x, t - 1)
        x = plan(t, x, {k: g[k] + weight_decay * x[k] for k in g})
        w = 1.0 if alpha is None else (1 + alpha) / (t + alpha)
        average = {k: (1 - w) * average[k] + w * x[k] for k in x}
        seen.append((dict(x), dict(average)))
    return seen


def _assert_follows(name, hparams, theirs):
    ours = drive(name, hparams, PROBLEM, STEPS, step_budget=BUDGET)
    assert_agrees(name, ours, theirs, TOLERANCE)
    assert np.max(np.abs(ours[-1][0]["w"] - PROBLEM.start["w"])) > 1e-3


def test_ldog_is_dog_of_every_tensor_apart():
    h = {"learning_rate": 0.7, "reps_rel": 1e-2, "eps": 1e-8, "weight_decay": 0.01, "averaging_alpha": 3.0}
    start = PROBLEM.start
    reach = {k: h["reps_rel"] * (1 + np.sqrt(np.sum(start[k] ** 2))) for k in start}
    total = dict.fromkeys(start, h["eps"])

    def plan(t, x, g):
        new = {}
        for k in x:
            reach[k] = max(reach[k], np.sqrt(np.sum((x[k] - start[k]) ** 2)))
            total[k] += np.sum(g[k] ** 2)
            new[k] = x[k] - h["learning_rate"] * reach[k] / np.sqrt(total[k]) * g[k]
        return new

    _assert_follows("ldog", h, _follow(plan, h["averaging_alpha"], h["weight_decay"]))


def test_tdog_follows_its_formula():
    h = {"learning_rate": 2000.0, "reps_rel": 1e-2, "delta": 0.05, "eps": 1e-8, "weight_decay": 0.01}
    h["averaging_alpha"] = 3.0
    theta = np.log(60 * np.log(6 * BUDGET) / h["delta"])
    reach, norms = [h["reps_rel"] * (1 + _norm(PROBLEM.start))], []

    def plan(t, x, g):
        reach.append(max(reach[-1], _norm(_minus(x, PROBLEM.start))))
        earlier = sum(n**2 for n in norms)  # G_{t-1}
        norms.append(_norm(g))
        log_plus = 1 + np.log(1 + (t - 1) * max(norms) ** 2 / norms[0] ** 2)
        tamed = 8**4 * theta**2 * log_plus**2 * (earlier + 16 * max(norms) ** 2)
        step = h["learning_rate"] * reach[-1] / np.sqrt(tamed + h["eps"])
        return {k: x[k] - step * g[k] for k in x}

    _assert_follows("tdog", h, _follow(plan, h["averaging_alpha"], h["weight_decay"]))


def test_dowg_follows_its_authors_code():
    h = {"learning_rate": 0.8, "init_estim_sq_dist": 1e-2, "eps": 1e-3, "weight_decay": 0.01, "averaging_alpha": 3.0}
    square, v = [h["init_estim_sq_dist"]], [0.0]

    def plan(t, x, g):
        square.append(max(square[-1], _norm(_minus(x, PROBLEM.start)) ** 2))
        v.append(v[-1] + square[-1] * _norm(g) ** 2)
        step = h["learning_rate"] * square[-1] / (np.sqrt(v[-1]) + h["eps"])
        return {k: x[k] - step * g[k] for k in x}

    _assert_follows("dowg", h, _follow(plan, h["averaging_alpha"], h["weight_decay"]))


def test_adagrad_norm_follows_its_paper():
    h = {"learning_rate": 0.8, "initial_accumulator_value": 0.25, "weight_decay": 0.01}
    b = [0.5]

    def plan(t, x, g):
        b.append(np.sqrt(b[-1] ** 2 + _norm(g) ** 2))
        return {k: x[k] - h["learning_rate"] / b[-1] * g[k] for k in x}

    _assert_follows("adagrad_norm", h, _follow(plan, weight_decay=h["weight_decay"]))


def test_cocob_follows_algorithm_2():
    h = {"learning_rate": 1.0, "alpha": 20.0, "eps": 1e-8, "weight_decay": 0.01}
    start = PROBLEM.start
    largest = {k: np.full_like(p, h["eps"]) for k, p in start.items()}
    absolute, reward, theta = ({k: np.zeros_like(p) for k, p in start.items()} for _ in range(3))

    def plan(t, x, g):
        new = {}
        for k in x:
            c = -g[k]  # the paper's coin outcomes are negative gradients
            largest[k] = np.maximum(largest[k], np.abs(c))
            absolute[k] = absolute[k] + np.abs(c)
            reward[k] = np.maximum(reward[k] + (x[k] - start[k]) * c, 0)
            theta[k] = theta[k] + c
            bet = theta[k] / (largest[k] * np.maximum(absolute[k] + largest[k], h["alpha"] * largest[k]))
            new[k] = start[k] + bet * (largest[k] + reward[k])
        return new

    _assert_follows("cocob", h, _follow(plan, weight_decay=h["weight_decay"]))


# ------------------------------------------------------------------------------------------------ identities

FREE = {
    "dog": {"eps": 0.0, "reps_rel": 1e-2},
    "ldog": {"eps": 0.0, "reps_rel": 1e-2},
    "tdog": {"eps": 0.0, "reps_rel": 1e-2, "learning_rate": 500.0},
    "dowg": {"eps": 0.0, "init_estim_sq_dist": 1e-2},
    "adagrad_norm": {"initial_accumulator_value": 0.0},
    "cocob": {},
}
"""Points at which a method has no scale of its own for gradients."""


def _moved(problem, scale=1.0, shift=0.0):
    """The problem with its loss multiplied, and its origin moved."""
    noise = [{k: scale * (n - problem.scale[k] * shift) for k, n in step.items()} for step in problem.noise]
    start = {k: x + shift for k, x in problem.start.items()}
    return NoisyQuadratic(start, {k: scale * s for k, s in problem.scale.items()}, noise)


SMOOTH = noisy_quadratic({"w": (2, 3), "s": ()}, steps=STEPS)


@pytest.mark.parametrize("name", FREE)
def test_iterates_do_not_depend_on_the_scale_of_the_loss(name):
    one, small, large = (drive(name, FREE[name], _moved(SMOOTH, scale), STEPS) for scale in (1.0, 1e-3, 1e3))
    assert max(deviation(one, small), deviation(one, large)) <= 1e-8
    assert deviation(one, [one[0]] * len(one)) > 1e-3


@pytest.mark.parametrize("name", ["dowg", "adagrad_norm", "cocob"])
def test_iterates_move_with_the_origin(name):
    here, there = (drive(name, FREE[name], _moved(SMOOTH, shift=s), STEPS) for s in (0.0, 5.0))
    back = [tuple({k: x - 5.0 for k, x in tree.items()} for tree in pair) for pair in there]
    assert deviation(here, back) <= 1e-10


def test_cocob_does_not_depend_on_the_factor_of_its_gradients():
    one, other = (drive("cocob", {"learning_rate": c}, SMOOTH, STEPS) for c in (1.0, 30.0))
    assert deviation(one, other) <= 1e-10


def test_adagrad_norm_is_dog_with_its_distance_held():
    """Of a distance that the iterates never come to."""
    h = {"learning_rate": 8.0, "initial_accumulator_value": 1e-8, "weight_decay": 0.01}
    ours = drive("adagrad_norm", h, PROBLEM, STEPS)
    assert max(_norm(_minus(x, PROBLEM.start)) for x, _ in ours) < h["learning_rate"]
    held = {"reps_rel": h["learning_rate"] / (1 + _norm(PROBLEM.start)), "weight_decay": 0.01}
    dog = drive("dog", held, PROBLEM, STEPS)
    assert deviation(ours, [(x, x) for x, _ in dog]) <= TOLERANCE


def test_ldog_of_one_tensor_is_dog():
    problem = noisy_quadratic({"w": (4, 6)}, steps=STEPS)
    assert deviation(drive("ldog", FREE["ldog"], problem, STEPS), drive("dog", FREE["dog"], problem, STEPS)) <= TOLERANCE


def test_first_step_of_tdog_is_the_first_distance_over_256_theta():
    theta = np.log(60 * np.log(6 * BUDGET) / 0.01)
    problem = noisy_quadratic(steps=1)
    (before, _), (after, _) = drive(
        "tdog", {"learning_rate": 1.0, "reps_rel": 1e-2, "eps": 0.0}, problem, 1, step_budget=BUDGET
    )
    expected = 1e-2 * (1 + _norm(before)) / (256 * theta)
    np.testing.assert_allclose(_norm(_minus(after, before)), expected, rtol=1e-8)


@pytest.mark.parametrize("alpha", [0.0, 8.0])
def test_polynomial_average_of_constants_is_the_constant_and_of_alpha_zero_the_mean(alpha):
    tx = averaging.polynomial_decay(optax.sgd(1.0), jnp.float32(alpha))
    params = jnp.array([1.0, -2.0])
    state, seen = tx.init(params), []
    for t in range(1, 9):
        updates, state = tx.update(jnp.full(2, float(t)), state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    if not alpha:
        np.testing.assert_allclose(averaging.averaged_params(state, params), np.mean(seen, axis=0), rtol=1e-6)
    state = tx.init(params)
    for _ in range(5):
        _, state = tx.update(jnp.zeros(2), state, params)
    np.testing.assert_array_equal(averaging.averaged_params(state, params), params)


# ---------------------------------------------------------------------------------- where optax's would go wrong


def _built(name, params, hparams):
    entry = registry.load_submission(name)
    point = {k: jnp.float32(v) for k, v in entry.resolve(hparams).items()}
    return entry.build(spec.Problem.from_params(params, step_budget=BUDGET, batch_size=4), point)


def _held(tx, params, gradient, steps):
    """State after some steps at one point and one gradient, as a scan: a state that changed its types would be refused."""

    def step(state, _):
        return tx.update(gradient, state, params)[1], None

    return jax.jit(lambda: jax.lax.scan(step, tx.init(params), length=steps)[0])()


def _floats(state):
    return [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]


def test_ldog_keeps_a_scalar_parameter_a_scalar_and_optaxs_does_not():
    """G14, and the sign: optax's transformation goes up the gradient."""
    params, grad = {"s": jnp.ones(())}, {"s": jnp.ones(())}
    tx = _built("ldog", params, {})
    update = tx.update(grad, tx.init(params), params)[0]["s"]
    assert update.shape == ()
    assert update < 0
    naive = optax.scale_by_distance_over_gradients()
    update = naive.update(grad, naive.init(params), params)[0]["s"]
    assert update.shape == (1,)
    assert update > 0


@pytest.mark.parametrize("name", sorted(TRANSCRIBED))
def test_sums_of_bfloat16_parameters_do_not_stop(name):
    """G4: in bfloat16 a sum of equal terms stops at 256 of them; these are 1000, squared norms of 1/2."""
    params, grad, steps = jnp.ones(2, jnp.bfloat16), jnp.full(2, 0.5, jnp.bfloat16), 1000
    state = _held(_built(name, params, {}), params, grad, steps)
    inner = state.inner if isinstance(state, averaging.AveragedState) else state
    assert all(x.dtype == jnp.float32 for x in _floats(inner))
    term = {"dowg": 0.5 * 1e-4}.get(name, 0.5)  # weighted by the squared distance; of COCOB the sum of a coordinate
    assert any(np.allclose(x, steps * term, rtol=1e-3) for x in _floats(inner))

    naive = _held(optax.contrib.dowg(), params, grad, steps)[1].weighted_sq_norm_grads
    assert naive.dtype == jnp.bfloat16
    assert naive < 0.5 * steps * 0.5 * 1e-4


@pytest.mark.parametrize("name", sorted(TRANSCRIBED))
def test_updates_of_bfloat16_parameters_are_bfloat16(name):
    params = {"w": jnp.ones((3, 2), jnp.bfloat16), "s": jnp.ones((), jnp.bfloat16)}
    tx = _built(name, params, {})
    updates, _ = tx.update(params, tx.init(params), params)
    assert all(u.dtype == jnp.bfloat16 for u in jax.tree.leaves(updates))


@pytest.mark.parametrize("name", sorted(TRANSCRIBED))
def test_no_two_arrays_of_the_first_state_share_a_buffer(name):
    params = {"w": jnp.ones((3, 2)), "s": jnp.ones(())}
    leaves = jax.tree.leaves((params, _built(name, params, {}).init(params)))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


def test_adagrad_norm_at_zero_over_zero_does_not_move():
    params = jnp.ones(3)
    tx = _built("adagrad_norm", params, {"initial_accumulator_value": 0.0})
    updates, state = tx.update(jnp.zeros(3), tx.init(params), params)
    np.testing.assert_array_equal(updates, jnp.zeros(3))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))
