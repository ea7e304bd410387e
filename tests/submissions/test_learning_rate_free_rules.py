"""Prodigy, D-Adaptation, Mechanic, MoMo and Polyak steps: transcriptions, identities, and where optax goes another way."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from algoperf_lite import registry, spec
from tests.submissions.driver import CONSTANT, assert_agrees, deviation, drive
from tests.submissions.problem import NoisyQuadratic, follow, noisy_quadratic

TRANSCRIBED = {"mechanic", "polyak_sgd"}
NAMES = ("dadapt_adamw", "dadapt_sgd", "mechanic", "momo", "momo_adam", "polyak_sgd", "prodigy")
STEPS = 50
BUDGET = 60
TOLERANCE = 1e-10


def _build(name, hparams, params, roles=None):
    problem = spec.Problem.from_params(params, step_budget=BUDGET, batch_size=4, roles=roles)
    return optax.with_extra_args_support(registry.load_submission(name).build(problem, hparams))


def _rate(h, t):
    """Linear from 0 over int(f H) steps, cosine to 0 over the rest, H = int(horizon x budget); t from 0."""
    horizon = int(h["horizon_fraction"] * BUDGET)
    warmup = int(h["warmup_fraction"] * horizon)
    if t < warmup:
        return h["learning_rate"] * t / warmup
    return h["learning_rate"] * (1 + np.cos(np.pi * min((t - warmup) / (horizon - warmup), 1))) / 2


def _dot(a, b):
    return sum(float(np.sum(a[k] * b[k])) for k in a)


# ------------------------------------------------------------------------------------------- transcriptions


def test_mechanic_follows_its_algorithm_with_clipped_gains_around_adamw():
    """Algorithm 1 of arXiv 2306.00144, h clipped to the old [-m, m], r kept unclipped, as the authors' code for optax."""
    h = {
        "learning_rate": 0.8,
        "b1": 0.85,
        "b2": 0.97,
        "eps": 1e-8,
        "weight_decay": 0.2,
        "s_decay": 0.3,
        "s_init": 1e-2,
        "num_betas": 4,
        "warmup_fraction": 0.1,
        "horizon_fraction": 0.9,
    }
    problem = noisy_quadratic({"w": (4, 6), "b": (4,), "scale": ()}, STEPS)
    n, tiny = h["num_betas"], 1e-8
    beta = 1 - 0.1 ** np.arange(1, n + 1)
    start = problem.start
    mu, nu = ({k: np.zeros_like(x) for k, x in start.items()} for _ in range(2))
    s, r, m, v = np.full(n, h["s_init"]), np.zeros(n), np.zeros(n), np.zeros(n)
    clipped = 0

    def step(x, g, loss, t):
        nonlocal s, r, m, v, clipped
        u = {}
        for k in x:
            mu[k] = h["b1"] * mu[k] + (1 - h["b1"]) * g[k]
            nu[k] = h["b2"] * nu[k] + (1 - h["b2"]) * g[k] ** 2
            direction = mu[k] / (1 - h["b1"] ** t) / (np.sqrt(nu[k] / (1 - h["b2"] ** t)) + h["eps"])
            u[k] = -_rate(h, t - 1) * (direction + h["weight_decay"] * x[k])
        scale = s.sum()
        delta = {k: (x[k] - start[k]) / (scale + tiny) for k in x}
        pull = h["s_decay"] * scale * np.sqrt(_dot(g, g)) / (np.sqrt(_dot(x, x)) + tiny)
        gain = -_dot({k: g[k] + pull * x[k] for k in x}, delta)
        bounded = np.clip(gain, -m, m)
        clipped += bool(np.any(bounded != gain))
        m = np.maximum(beta * m, abs(gain) + tiny)
        v = beta**2 * v + gain**2
        r = beta * r + bounded * s
        s = (h["s_init"] / n * m + np.maximum(r, 0)) / (np.sqrt(v) + tiny)
        return {k: start[k] + s.sum() * (delta[k] + u[k]) for k in x}

    theirs = follow(problem, step, STEPS)
    assert 0 < clipped < STEPS
    ours = drive("mechanic", h, problem, STEPS, step_budget=BUDGET)
    assert_agrees("mechanic", ours, theirs, TOLERANCE)
    assert deviation(theirs, theirs[:1] * len(theirs)) > 0.1


@pytest.mark.parametrize("variant", ["sps", "sps+"])
def test_polyak_sgd_follows_its_formula_under_the_cap_at_the_cap_and_below_f_min(variant):
    h = {
        "learning_rate": 0.6,
        "max_learning_rate": 0.4,
        "f_min": -0.4,
        "variant": variant,
        "warmup_fraction": 0.1,
        "horizon_fraction": 0.9,
    }
    problem = noisy_quadratic({"w": (4, 6), "b": (4,), "scale": ()}, STEPS)
    seen = []

    def step(x, g, loss, t):
        gap = loss - h["f_min"] if variant == "sps" else max(loss - h["f_min"], 0.0)
        seen.append(gap / _dot(g, g))
        polyak = min(seen[-1], h["max_learning_rate"])
        return {k: x[k] - _rate(h, t - 1) * polyak * g[k] for k in x}

    theirs = follow(problem, step, STEPS)
    assert max(seen) > h["max_learning_rate"] > np.median(seen)
    assert min(seen) < 0 if variant == "sps" else min(seen) == 0
    ours = drive("polyak_sgd", h, problem, STEPS, step_budget=BUDGET)
    assert_agrees("polyak_sgd", ours, theirs, TOLERANCE)


# ------------------------------------------------------------------------------------------------ identities


def _plain_quadratic(curvature, shape, factor=1.0):
    """factor * sum(curvature x^2) / 2 without noise."""
    start = {"w": np.random.default_rng(1).standard_normal(shape)}
    return NoisyQuadratic(start, {"w": factor * curvature * np.ones(shape)}, [{"w": np.zeros(shape)}] * STEPS)


@pytest.mark.parametrize(
    ("name", "hparams"),
    [("polyak_sgd", {"max_learning_rate": 1e6}), ("momo", {"beta": 0.0, "learning_rate": 1e6})],
)
def test_polyaks_step_halves_the_parameters_of_an_even_quadratic(name, hparams):
    problem = _plain_quadratic(7.0, (3, 2))
    for t, (params, _) in enumerate(drive(name, {**hparams, **CONSTANT}, problem, 20)):
        np.testing.assert_allclose(params["w"], problem.start["w"] / 2**t, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "hparams", "tolerance"),
    [
        ("dadapt_sgd", {"momentum": 0.5}, 1e-14),
        ("dadapt_adamw", {"eps": 1e-12}, 1e-5),
        ("prodigy", {"eps": 1e-12, "safeguard_warmup": False}, 1e-5),
        ("momo", {"learning_rate": 1e9}, 1e-14),  # caps out of reach
        ("momo_adam", {"eps": 1e-12, "learning_rate": 1e9}, 1e-6),
        ("polyak_sgd", {"max_learning_rate": 1e9}, 1e-14),
        ("mechanic", {"eps": 1e-12, "s_init": 1e-3}, 1e-3),  # its own eps stays
    ],
)
def test_loss_times_a_factor_gives_the_same_iterates(name, hparams, tolerance):
    """Up to eps; the factor is a power of 2, which rounds nothing."""
    curvature = np.array([0.1, 1.0, 3.0])
    ours, smaller = (
        drive(name, {**hparams, **CONSTANT}, _plain_quadratic(curvature, (3,), factor), STEPS) for factor in (1.0, 1 / 1024)
    )
    assert deviation(smaller, ours) <= tolerance
    assert deviation(ours, ours[:1] * len(ours)) > 0.1


@pytest.mark.parametrize(
    ("name", "hparams", "order", "largest"),
    [
        # 2 sum lambda <g, s> / |s| <= 2 D is the theorem (convexity: sum lambda <g, x_0 - x> <= |s| D)
        ("dadapt_sgd", {"momentum": 0.0}, 2, 2.0),
        # no theorem for the averages of the Adam forms: what this problem gives
        ("dadapt_adamw", {"use_bias_correction": True}, np.inf, 1.0),
        ("prodigy", {"use_bias_correction": True, "safeguard_warmup": False}, np.inf, 1.0),
    ],
)
def test_estimate_grows_from_below_the_distance_on_a_convex_function(name, hparams, order, largest):
    target, weight = jnp.array([5.0, -3.0, 1.0, 0.5]), jnp.array([0.2, 1.0, 3.0, 0.5])
    params = jnp.zeros(4)
    tx = _build(name, {**hparams, **CONSTANT}, params)

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(weight * jnp.sign(params - target), state, params)
        return (optax.apply_updates(params, updates), state), state.estim_lr

    estimates = jax.jit(lambda: jax.lax.scan(step, (params, tx.init(params)), length=3000)[1])()
    assert np.all(np.diff(estimates) >= 0)
    distance = np.linalg.norm(target, ord=order)
    assert 1e4 * 1e-6 < estimates[-1] <= largest * distance


@pytest.mark.parametrize("name", ["momo", "momo_adam"])
def test_without_gradients_momo_only_decays(name):
    h = {"learning_rate": 0.7, "weight_decay": 0.3, "warmup_fraction": 0.2, "horizon_fraction": 0.75}
    problem = _plain_quadratic(0.0, (3,))
    left = 1.0
    for t, (params, _) in enumerate(drive(name, h, problem, STEPS, step_budget=BUDGET)):
        np.testing.assert_allclose(params["w"], left * problem.start["w"], rtol=1e-12)
        left /= 1 + _rate(h, t) * h["weight_decay"]
    assert left < 0.1


# ---------------------------------------------------------------------------------- where optax goes another way


@pytest.mark.parametrize("lower_bound", [0.0, 3.0])
@pytest.mark.parametrize(("name", "theirs"), [("momo", optax.contrib.momo), ("momo_adam", optax.contrib.momo_adam)])
def test_decayed_momo_minimises_its_model_of_the_loss_and_optaxs_does_not(name, theirs, lower_bound):
    """The paper's definition of the first step, which no formula of the step enters: y minimises
    max(f + <g, y - x>, f*) + |y - x|_D^2 / (2 alpha) + lambda |y|_D^2 / 2, D = 1 for MoMo and |g| for MoMo-Adam."""
    alpha, decay, loss = 0.5, 0.4, 4.0
    x, g = np.array([1.0, -2.0, 0.5]), np.array([0.3, -1.1, 0.7])
    metric = np.abs(g) if name == "momo_adam" else np.ones(3)

    def model(y):
        linear = np.maximum(loss + (y - x) @ g, lower_bound)
        return linear + (y - x) ** 2 @ metric / (2 * alpha) + decay * y**2 @ metric / 2

    def moved(tx):
        return x + np.asarray(tx.update(jnp.array(g), tx.init(jnp.array(x)), jnp.array(x), value=loss)[0])

    with jax.enable_x64(True):
        h = {"learning_rate": alpha, "weight_decay": decay, "lower_bound": lower_bound, **CONSTANT}
        ours = moved(_build(name, h, jnp.array(x)))
        optaxs = moved(theirs(learning_rate=alpha, weight_decay=decay, lower_bound=lower_bound))
    rng = np.random.default_rng(0)
    for size in (1e-1, 1e-2, 1e-3):
        assert all(model(ours) <= model(ours + size * rng.standard_normal(3)) + 1e-9 for _ in range(200))
    assert model(optaxs) > model(ours) + 1e-3


def test_momo_says_what_it_needs():
    for name in ("momo", "momo_adam"):
        params = jnp.ones(2)
        tx = _build(name, {}, params)
        with pytest.raises(ValueError, match="needs parameters and loss"):
            tx.update(params, tx.init(params), params)


def test_schedule_multiplies_polyaks_step_and_optaxs_scaling_divides_it():
    grad = {"w": jnp.array([3.0, 4.0])}
    steps = {}
    for scaling in (1.0, 0.5):
        h = {"learning_rate": scaling, "max_learning_rate": 1e3, **CONSTANT}
        for side, tx in (
            ("ours", _build("polyak_sgd", h, grad)),
            ("optax", optax.polyak_sgd(max_learning_rate=1e3, scaling=scaling)),
        ):
            steps[side, scaling] = tx.update(grad, tx.init(grad), grad, value=50.0)[0]["w"]
    np.testing.assert_allclose(steps["ours", 0.5], steps["ours", 1.0] / 2, rtol=1e-6)
    np.testing.assert_allclose(steps["ours", 1.0], -2 * grad["w"], rtol=1e-6)
    np.testing.assert_allclose(steps["optax", 0.5], steps["optax", 1.0] * 2, rtol=1e-6)


OPTAX = {
    "prodigy": optax.contrib.prodigy,
    "dadapt_adamw": optax.contrib.dadapt_adamw,
    "momo": optax.contrib.momo,
    "momo_adam": optax.contrib.momo_adam,
    "mechanic": lambda learning_rate: optax.contrib.mechanize(optax.adamw(learning_rate)),
}


def _train(tx, params, steps, still=0):
    """Gradient descent towards 3 in every coordinate; the first `still` gradients are zero."""

    def step(carry, t):
        params, state = carry
        grads = jax.tree.map(lambda p: (p - 3.0) * (t >= still), params)
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.jit(lambda: jax.lax.scan(step, (params, tx.init(params)), jnp.arange(steps))[0])()


@pytest.mark.parametrize("name", ["dadapt_adamw", "dadapt_sgd", "prodigy"])
def test_first_gradients_of_zero_are_as_if_they_had_not_been_and_optax_never_recovers(name):
    params = {"w": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}
    tx = _build(name, {"estim_lr0": 1e-2, "weight_decay": 0.1, **CONSTANT}, params)
    after, state = _train(tx, params, 32, still=2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), after, _train(tx, params, 30)[0])
    assert np.max(np.abs(after["w"] - params["w"])) > 0.1
    assert state.estim_lr > 2e-2
    if name in OPTAX:
        assert np.all(np.isnan(_train(OPTAX[name](1.0), params, 32, still=2)[0]["w"]))


@pytest.mark.parametrize("name", ["dadapt_adamw", "dadapt_sgd", "prodigy"])
def test_warm_up_from_a_learning_rate_of_zero_trains_and_optax_never_does(name):
    params = {"w": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}
    after, state = _train(_build(name, {"estim_lr0": 1e-2, "warmup_fraction": 0.2}, params), params, 30)
    assert np.max(np.abs(after["w"] - params["w"])) > 0.1
    assert state.estim_lr > 2e-2
    if name in OPTAX:
        assert np.all(np.isnan(_train(OPTAX[name](optax.linear_schedule(0.0, 1.0, 9)), params, 30)[0]["w"]))


def _statistics(state, params):
    """Floating leaves of a state that have no parameter's shape."""
    shapes = {p.shape for p in jax.tree.leaves(params)}
    leaves = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return [leaf for leaf in leaves if leaf.shape not in shapes]


@pytest.mark.parametrize("name", NAMES)
def test_scalars_are_float32_beside_bfloat16_parameters_and_optaxs_are_not(name):
    params = {"w": jnp.ones((3, 2), jnp.bfloat16), "b": jnp.ones(5, jnp.float32)}
    tx = _build(name, {**CONSTANT}, params)
    state = tx.init(params)
    updates, after = tx.update(params, state, params, value=jnp.float32(2.0))
    for tree in (state, after):
        assert all(leaf.dtype == jnp.float32 for leaf in _statistics(tree, params))
    assert jax.tree.map(lambda u: (u.shape, u.dtype), updates) == jax.tree.map(lambda p: (p.shape, p.dtype), params)
    if name in OPTAX:
        assert _statistics(state, params)
        naive = _statistics(OPTAX[name](1.0).init(params), params)
        assert naive
        assert all(leaf.dtype == jnp.bfloat16 for leaf in naive)


@pytest.mark.parametrize("name", NAMES)
def test_state_shares_no_buffer_with_the_parameters(name):
    """Both are donated: one buffer under two names would be an error."""
    params = {"w": jnp.ones((3, 2)), "b": jnp.ones(5)}
    state = _build(name, {}, params).init(params)
    buffers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((params, state)) if leaf.ndim]
    assert len(set(buffers)) == len(buffers)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_that_is_no_number_is_not_taken_for_one_of_zero(name):
    params = {"w": jnp.ones((3, 2)), "b": jnp.ones(5)}
    tx = _build(name, CONSTANT, params)
    grads = {**params, "b": params["b"].at[2].set(jnp.nan)}
    updates, _ = tx.update(grads, tx.init(params), params, value=1.0)
    assert np.isnan(updates["b"][2])


def test_decay_masked_by_role_survives_traced_hyperparameters_and_inject_hyperparams_loses_it():
    """A mask given as a function is taken for a schedule by inject_hyperparams, and the decay is gone without a word."""
    params = {"kernel": jnp.ones((2, 2)), "norm": jnp.ones(2)}
    roles = {"kernel": spec.Role("matrix", 2, 2, 2, 2), "norm": spec.Role("norm", 1, 2, 1, 2)}
    decayed = jax.tree.map(lambda role: role.kind == "matrix", roles)

    def shrunk(tx):
        updates, _ = tx.update(optax.tree.zeros_like(params), tx.init(params), params)
        return {k for k, u in updates.items() if np.any(u != 0)}

    @jax.jit
    def ours(learning_rate, weight_decay):
        h = {"learning_rate": learning_rate, **CONSTANT}
        parts = {
            True: _build("adamw", {**h, "weight_decay": weight_decay}, params, roles),
            False: _build("adamw", {**h, "weight_decay": 0.0}, params, roles),
        }
        tx = optax.partition(parts, decayed)
        return tx.update(optax.tree.zeros_like(params), tx.init(params), params)[0]

    updates = ours(0.1, 0.5)
    assert {k for k, u in updates.items() if np.any(u != 0)} == {"kernel"}
    np.testing.assert_allclose(updates["kernel"], -0.05, rtol=1e-6)
    asked = {"learning_rate": 0.1, "weight_decay": 0.5, "mask": lambda tree: jax.tree.map(lambda p: p.ndim > 1, tree)}
    assert shrunk(optax.adamw(**asked)) == {"kernel"}
    assert shrunk(optax.inject_hyperparams(optax.adamw)(**asked)) == set()
