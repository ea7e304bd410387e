"""The usual baselines against plain-NumPy transcriptions of their papers, and identities that hold to rounding."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from algoperf_lite import registry, spec
from tests.submissions.driver import CONSTANT, assert_agrees, deviation, drive
from tests.submissions.problem import NoisyQuadratic, follow, noisy_quadratic

TRANSCRIBED = {"adopt", "lamb", "lars", "mars"}
BASELINES = (
    "sgd",
    "adam",
    "adafactor",
    "lamb",
    "lars",
    "lion",
    "signum",
    "radam",
    "adabound",
    "adamod",
    "ademamix",
    "adopt",
    "mars",
)
STEPS, BUDGET = 50, 60
TOLERANCE = 1e-13
RATE = 0.05
STEADY = {**CONSTANT, "learning_rate": RATE}
PHASES = {"learning_rate": RATE, "warmup_fraction": 0.2, "horizon_fraction": 0.75}
PROBLEM = noisy_quadratic({"w": (4, 6), "b": (4,), "s": ()}, STEPS, still=("b",))


def _rate(t):
    """Of update t = 1, 2, ... under `PHASES`: 45 steps in all, 9 of them warm-up."""
    return RATE * ((t - 1) / 9 if t <= 9 else (1 + np.cos(np.pi * min((t - 10) / 36, 1))) / 2)


def _assert_follows(name, hparams, step, problem=PROBLEM):
    ours = drive(name, hparams, problem, STEPS, step_budget=BUDGET)
    assert_agrees(name, ours, follow(problem, step, STEPS), TOLERANCE)


def _ended(name, hparams, problem=PROBLEM, steps=1, **how):
    """Parameters before the last of `steps` updates, and the last update."""
    seen = drive(name, hparams, problem, steps, step_budget=BUDGET, **how)
    before, after = seen[-2][0], seen[-1][0]
    return before, {k: after[k] - before[k] for k in after}


def _gradientless(shapes):
    start = noisy_quadratic(shapes, 1).start
    zeros = {k: np.zeros(shape) for k, shape in shapes.items()}
    return NoisyQuadratic(start, zeros, [zeros] * STEPS)


def _roles(**kinds):
    return {k: spec.Role(kind, 1, 1, 1, 1) for k, kind in kinds.items()}


# ---------------------------------------------------------------------------------------------- transcriptions


def test_lamb_follows_algorithm_2():
    """You et al.: m, v bias-corrected; r = m / (sqrt(v) + eps); x <- x - rate |x| / |r + lambda x| (r + lambda x)."""
    b1, b2, eps, decay = 0.85, 0.97, 1e-6, 0.1
    m, v = ({k: np.zeros_like(x) for k, x in PROBLEM.start.items()} for _ in range(2))

    def step(params, gradient, loss, t):
        after = {}
        for k, x in params.items():
            m[k] = b1 * m[k] + (1 - b1) * gradient[k]
            v[k] = b2 * v[k] + (1 - b2) * gradient[k] ** 2
            u = m[k] / (1 - b1**t) / (np.sqrt(v[k] / (1 - b2**t)) + eps) + decay * x
            after[k] = x - _rate(t) * np.sqrt(np.sum(x**2) / np.sum(u**2)) * u
        return after

    _assert_follows("lamb", {**PHASES, "b1": b1, "b2": b2, "eps": eps, "weight_decay": decay}, step)


def test_lars_follows_algorithm_1_with_the_learning_rate_inside_the_momentum():
    """You, Gitman and Ginsburg: v <- m v + rate k |x| / (|g| + beta |x|) (g + beta x), x <- x - v; b and s are skipped."""
    momentum, coefficient, decay = 0.85, 0.2, 0.1
    v = {k: np.zeros_like(x) for k, x in PROBLEM.start.items()}

    def step(params, gradient, loss, t):
        after = {}
        for k, x in params.items():
            d = gradient[k]
            if k == "w":
                size = np.linalg.norm(x)
                d = coefficient * size / (np.linalg.norm(d) + decay * size) * (d + decay * x)
            v[k] = momentum * v[k] + _rate(t) * d
            after[k] = x - v[k]
        return after

    hparams = {**PHASES, "momentum": momentum, "trust_coefficient": coefficient, "weight_decay": decay}
    _assert_follows("lars", hparams, step)


@pytest.mark.parametrize("phases", [PHASES, STEADY], ids=["scheduled", "constant"])
def test_adopt_follows_its_papers_clipped_rule(phases):
    """Taniguchi et al.: v_0 = g_0^2; m <- EMA(clip(g_t / max(sqrt(v_{t-1}), eps), t^(1/4))), x <- x - rate m, then v."""
    b1, b2, eps, decay = 0.85, 0.97, 1e-6, 0.1
    m, v = ({k: np.zeros_like(x) for k, x in PROBLEM.start.items()} for _ in range(2))

    def step(params, gradient, loss, t):
        if t == 1:
            v.update({k: g**2 for k, g in gradient.items()})
            return params
        rate, after = _rate(t) if phases is PHASES else RATE, {}
        for k, x in params.items():
            bound = (t - 1) ** 0.25
            u = np.clip(gradient[k] / np.maximum(np.sqrt(v[k]), eps), -bound, bound)
            m[k] = b1 * m[k] + (1 - b1) * u
            after[k] = x - rate * (m[k] + decay * x)
            v[k] = b2 * v[k] + (1 - b2) * gradient[k] ** 2
        return after

    _assert_follows("adopt", {**phases, "b1": b1, "b2": b2, "eps": eps, "weight_decay": decay}, step)


def test_mars_follows_the_approximate_form_of_its_algorithm():
    """Yuan et al.: c = g + gamma b1 / (1 - b1) (g - last g), clipped to length 1, then AdamW on c; b and s have AdamW."""
    gamma, eps = 0.05, 1e-8
    betas = {"w": (0.85, 0.97), "b": (0.8, 0.95), "s": (0.8, 0.95)}
    decay = {"w": 0.2, "b": 0.1, "s": 0.1}
    last, m, v = ({k: np.zeros_like(x) for k, x in PROBLEM.start.items()} for _ in range(3))
    lengths = []

    def step(params, gradient, loss, t):
        after = {}
        for k, x in params.items():
            (b1, b2), c = betas[k], gradient[k]
            if k == "w":
                c = c + gamma * b1 / (1 - b1) * (c - last[k])
                lengths.append(np.linalg.norm(c))
                c = c / lengths[-1] if lengths[-1] > 1 else c
            last[k] = gradient[k]
            m[k] = b1 * m[k] + (1 - b1) * c
            v[k] = b2 * v[k] + (1 - b2) * c**2
            u = m[k] / (1 - b1**t) / (np.sqrt(v[k] / (1 - b2**t)) + eps)
            after[k] = x - _rate(t) * (u + decay[k] * x)
        return after

    hparams = {"b1": 0.85, "b2": 0.97, "b1_1d": 0.8, "b2_1d": 0.95, "eps": eps, "gamma": gamma}
    hparams |= {"weight_decay": decay["w"], "weight_decay_1d": decay["b"]}
    # A flatter and quieter problem, so that some corrected gradients are shorter than 1.
    scale = {k: 0.2 * s for k, s in PROBLEM.scale.items()}
    noise = [{k: 0.5 * n for k, n in linear.items()} for linear in PROBLEM.noise]
    _assert_follows("mars", {**PHASES, **hparams}, step, NoisyQuadratic(PROBLEM.start, scale, noise))
    assert min(lengths) < 1 < max(lengths)


# -------------------------------------------------------------------------------------------------- identities


def test_first_step_of_adam_is_the_learning_rate_times_the_sign():
    eps = 1e-3
    _, moved = _ended("adam", {**STEADY, "eps": eps, "weight_decay": 0.0})
    for k, g in PROBLEM.gradient(PROBLEM.start, 0).items():
        np.testing.assert_allclose(moved[k], -RATE * g / (np.abs(g) + eps), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("b2", [0.999, 0.95])
def test_first_five_steps_of_radam_are_momentum_sgd_and_the_sixth_is_not(b2):
    b1 = 0.85
    ours = drive("radam", {**STEADY, "b1": b1, "b2": b2, "weight_decay": 0.0}, PROBLEM, 6)
    m = {k: np.zeros_like(x) for k, x in PROBLEM.start.items()}

    def step(params, gradient, loss, t):
        m.update({k: b1 * m[k] + (1 - b1) * g for k, g in gradient.items()})
        return {k: x - RATE * m[k] / (1 - b1**t) for k, x in params.items()}

    theirs = follow(PROBLEM, step, 6)
    assert deviation(ours[:6], theirs[:6]) <= 1e-15
    assert deviation(ours, theirs) > 1e-3


@pytest.mark.parametrize("name", ["lion", "signum"])
@pytest.mark.parametrize("steps", [2, 20])
def test_every_coordinate_of_a_sign_method_moves_by_the_learning_rate(name, steps):
    _, moved = _ended(name, {**STEADY, "weight_decay": 0.0}, steps=steps)
    for u in moved.values():
        np.testing.assert_allclose(np.abs(u), RATE, rtol=1e-12)


@pytest.mark.parametrize("steps", [2, 20])
def test_lamb_moves_every_tensor_by_the_learning_rate_times_its_length(steps):
    before, moved = _ended("lamb", {**STEADY, "weight_decay": 0.1}, steps=steps)
    for k, u in moved.items():
        np.testing.assert_allclose(np.linalg.norm(u), RATE * np.linalg.norm(before[k]), rtol=1e-12)


def test_lamb_moves_a_tensor_of_zeros_as_adam_does():
    problem = NoisyQuadratic({**PROBLEM.start, "b": np.zeros(4)}, PROBLEM.scale, PROBLEM.noise)
    assert np.all(problem.noise[0]["b"])
    _, moved = _ended("lamb", {**STEADY, "eps": 1e-12}, problem)
    np.testing.assert_allclose(np.abs(moved["b"]), RATE, rtol=1e-9)


def test_lars_moves_a_kernel_by_its_length_and_the_rest_by_their_gradient():
    before, moved = _ended("lars", {**STEADY, "trust_coefficient": 0.2, "weight_decay": 0.0})
    gradient = PROBLEM.gradient(before, 0)
    np.testing.assert_allclose(np.linalg.norm(moved["w"]), RATE * 0.2 * np.linalg.norm(before["w"]), rtol=1e-12)
    for k in ("b", "s"):
        np.testing.assert_allclose(moved[k], -RATE * gradient[k], rtol=1e-12, atol=1e-15)


def test_lars_differs_from_optaxs_by_the_known_ratio():
    """The paper divides by |g| + lambda |x|, optax by |g + lambda x|."""
    decay, params, grad = 0.5, {"w": jnp.array([[0.3, -2.0]])}, {"w": jnp.array([[-1.0, 0.4]])}
    entry = registry.load_submission("lars")
    problem = spec.Problem.from_params(params, step_budget=100, batch_size=4)
    steps = [
        tx.update(grad, tx.init(params), params)[0]["w"]
        for tx in (
            entry.build(problem, {**STEADY, "trust_coefficient": 1e-3, "weight_decay": decay}),
            optax.lars(RATE, weight_decay=decay),
        )
    ]
    g, x = grad["w"], params["w"]
    ratio = jnp.linalg.norm(g + decay * x) / (jnp.linalg.norm(g) + decay * jnp.linalg.norm(x))
    np.testing.assert_allclose(steps[0] / steps[1], np.full((1, 2), ratio), rtol=1e-5)
    assert ratio < 0.9


def test_first_call_of_adopt_moves_nothing_even_with_decay():
    _, moved = _ended("adopt", {**STEADY, "weight_decay": 0.5})
    _, second = _ended("adopt", {**STEADY, "weight_decay": 0.5}, steps=2)
    assert not any(np.any(u) for u in moved.values())
    assert all(np.all(u) for u in second.values())


SHRINKING = ("adafactor", "adamod", "adamw", "ademamix", "adopt", "lion", "mars", "nadamw", "radam", "signum")


@pytest.mark.parametrize("name", SHRINKING)
def test_without_a_gradient_decoupled_decay_shrinks_by_its_product_with_the_learning_rate(name):
    """Of adafactor this is what optax's own decay does not do: that one does not follow the learning rate."""
    decay = 0.3
    problem = _gradientless({"w": (3, 2), "b": (2,)})
    hparams = {**PHASES, "weight_decay": decay} | ({"weight_decay_1d": decay} if name == "mars" else {})
    ended = drive(name, hparams, problem, STEPS, step_budget=BUDGET)[-1][0]
    factor = np.prod([1 - _rate(t) * decay for t in range(1, STEPS + 1)])
    for k, x in problem.start.items():
        np.testing.assert_allclose(ended[k], factor * x, rtol=1e-12)
    assert factor < 0.9


@pytest.mark.parametrize("name", ["lamb", "lars"])
def test_without_a_gradient_a_ratio_makes_the_shrinking_independent_of_the_decay(name):
    problem = _gradientless({"w": (3, 2)})
    further = {"trust_coefficient": 0.2, "momentum": 0.0} if name == "lars" else {}
    for decay in (0.01, 1.0):
        before, moved = _ended(name, {**STEADY, "weight_decay": decay, **further}, problem, steps=3)
        np.testing.assert_allclose(moved["w"], -RATE * further.get("trust_coefficient", 1) * before["w"], rtol=1e-12)


def test_adabound_ends_as_momentum_sgd_at_its_final_learning_rate():
    hparams = {**STEADY, "b1": 0.85, "final_learning_rate": 0.01, "gamma": 1e9, "weight_decay": 0.0}
    m = {k: np.zeros_like(x) for k, x in PROBLEM.start.items()}

    def step(params, gradient, loss, t):
        m.update({k: 0.85 * m[k] + 0.15 * g for k, g in gradient.items()})
        return {k: x - 0.01 * m[k] for k, x in params.items()}

    assert deviation(drive("adabound", hparams, PROBLEM, STEPS), follow(PROBLEM, step, STEPS)) <= 1e-8


def test_adamod_without_memory_is_adam_and_ademamix_without_its_slow_momentum_is_adamw():
    adam = {**PHASES, "b1": 0.85, "b2": 0.97, "eps": 1e-12}
    plain = drive("adamw", {**adam, "weight_decay": 0.1}, PROBLEM, STEPS)
    assert deviation(drive("adamod", {**adam, "b3": 0.0, "weight_decay": 0.1}, PROBLEM, STEPS), plain) <= 1e-10
    assert deviation(drive("ademamix", {**adam, "alpha": 0.0, "weight_decay": 0.1}, PROBLEM, STEPS), plain) <= TOLERANCE


def test_ademamixs_memory_ends_at_b3_and_starts_near_b1():
    """The slow momentum's first share of a gradient is 1 - b3(1), and a constant 1 - b3 after the warm-up."""
    b1, b3, alpha = 0.9, 0.99, 4.0
    entry = registry.load_submission("ademamix")
    params = {"w": jnp.ones(1)}
    problem = spec.Problem.from_params(params, step_budget=20, batch_size=4)
    tx = entry.build(problem, {**STEADY, "b1": b1, "b3": b3, "alpha": alpha, "slow_warmup_fraction": 0.5})
    state, shares, slow = tx.init(params), [], 0.0
    for t in range(1, 13):
        _, state = tx.update({"w": jnp.ones(1)}, state, params)
        after = float(optax.tree.get(state, "m2")["w"][0])
        shares.append((after - slow) / (1 - slow))
        slow = after
        half_lives = np.log(0.5) / np.log([b1, b3])
        weight = min(t / 10, 1)
        expected = 1 - 0.5 ** (1 / ((1 - weight) * half_lives[0] + weight * half_lives[1]))
        np.testing.assert_allclose(shares[-1], expected, rtol=1e-4)
    np.testing.assert_allclose(shares[9:], 1 - b3, rtol=1e-4)


# ------------------------------------------------------------------------------------------- roles, shapes, types


def test_lars_and_mars_tell_kernels_by_role_and_not_by_shape():
    problem = noisy_quadratic({"w": (4, 6), "b": (4,)}, 5)
    swapped = _roles(w="norm", b="position")
    plain, _ = _ended("sgd", {**STEADY, "weight_decay": 0.0}, problem, 5)
    ours, _ = _ended("lars", {**STEADY, "weight_decay": 0.1}, problem, 5, roles=swapped)
    np.testing.assert_allclose(ours["w"], plain["w"], rtol=1e-12)
    assert np.max(np.abs(ours["b"] - plain["b"])) > 1e-3

    point = {**STEADY, "b1_1d": 0.9, "b2_1d": 0.97, "weight_decay_1d": 0.1}
    plain, _ = _ended("adamw", {**STEADY, "b1": 0.9, "b2": 0.97, "weight_decay": 0.1}, problem, 5)
    ours, _ = _ended("mars", point, problem, 5, roles=swapped)
    np.testing.assert_allclose(ours["w"], plain["w"], rtol=1e-12)
    assert np.max(np.abs(ours["b"] - plain["b"])) > 1e-4


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shapes", [((),), ((2, 3, 4), (3, 3, 2, 4), (1, 5), (3,), ())], ids=["one scalar", "many"])
@pytest.mark.parametrize("name", BASELINES)
def test_any_tree_keeps_its_structure_and_types_and_states_are_float32(name, shapes, dtype):
    entry = registry.load_submission(name)
    params = [jnp.full(shape, 0.5, dtype) for shape in shapes]
    problem = spec.Problem.from_params(params, step_budget=10, batch_size=4)
    point = entry.resolve({"learning_rate": 0.1, **CONSTANT})
    static = entry.static(point)
    hparams = {k: v if k in static else jnp.float32(v) for k, v in point.items()}
    tx = entry.build(problem, hparams)
    state = tx.init(params)
    updates, after = tx.update(params, state, params)
    updates, after = tx.update(params, after, params)
    described = [jax.tree.map(lambda x: (x.shape, x.dtype), tree) for tree in (state, after, params, updates)]
    assert described[0] == described[1]
    assert described[2] == described[3]
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} <= {jnp.dtype(jnp.float32), jnp.dtype(jnp.int32)}
    assert all(bool(jnp.all(jnp.isfinite(u) & (u != 0))) for u in updates)


def test_adafactor_factors_small_kernels_and_leaves_vectors_whole():
    params = {"w": jnp.ones((3, 5)), "b": jnp.ones(4)}
    problem = spec.Problem.from_params(params, step_budget=10, batch_size=4)
    state = registry.load_submission("adafactor").build(problem, {}).init(params)
    assert sorted([optax.tree.get(state, "v_row")["w"].size, optax.tree.get(state, "v_col")["w"].size]) == [3, 5]
    assert optax.tree.get(state, "v")["b"].shape == (4,)


@pytest.mark.parametrize("one_minus_b2", [5e-4, 1e-3, 0.05, 0.1])
def test_radam_in_single_precision_has_five_steps_of_momentum_like_in_double(one_minus_b2):
    """rho_5 lies 5e-6 to 4e-3 below the authors' threshold of 5, which is less than its rounding in float32."""
    entry, params = registry.load_submission("radam"), {"w": jnp.array([1.0, -2.0])}
    problem = spec.Problem.from_params(params, step_budget=100, batch_size=4)
    moves = {}
    for x64 in (False, True):
        with jax.enable_x64(x64):
            x = jax.tree.map(lambda p: jnp.asarray(np.asarray(p), float), params)
            point = {**STEADY, "b2": 1.0 - one_minus_b2, "b1": 0.9, "weight_decay": 0.0}
            tx = entry.build(problem, {k: jnp.asarray(v, float) for k, v in point.items()})
            state, moves[x64] = tx.init(x), []
            for _ in range(7):
                updates, state = jax.jit(tx.update)(jax.tree.map(lambda p: 3.0 * jnp.ones_like(p), x), state, x)
                moves[x64].append(float(updates["w"][0]))
    np.testing.assert_allclose(moves[False], moves[True], rtol=0.05)
    assert np.allclose(moves[True][:5], moves[True][0], rtol=1e-6)
    assert abs(moves[True][5]) < 0.5 * abs(moves[True][4])
