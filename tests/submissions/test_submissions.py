"""The shipped submissions against plain-NumPy transcriptions of their sources, in closed loop and in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from algoperf_lite import contract, errors, registry, spec

NAMES = ["adamw", "dog", "nadamw", "nesterov", "schedule_free_adamw"]
STEPS = 50
BUDGET = 60


def _noisy_quadratic():
    """(start, gradient(parameters, step)) of a 2-D and a 1-D tensor; the first gradient of the second is zero."""
    rng = np.random.default_rng(0)
    start = {"w": rng.standard_normal((3, 4)), "b": rng.standard_normal(4)}
    noise = [{k: 0.3 * rng.standard_normal(p.shape) for k, p in start.items()} for _ in range(STEPS)]
    noise[0]["b"] = -np.exp(np.arange(4.0) / 2) * start["b"]
    scale = {"w": np.exp(rng.uniform(-1, 1, (3, 4))), "b": np.exp(np.arange(4.0) / 2)}

    def gradient(params, step):
        return {k: scale[k] * params[k] + noise[step][k] for k in params}

    return start, gradient


def _ours(name, hparams):
    """Trajectory of a shipped submission in float64: [(parameters, evaluation parameters)], the start first."""
    entry = registry.load_submission(name)
    start, gradient = _noisy_quadratic()
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, start)
        problem = spec.Problem.from_params(params, step_budget=BUDGET, batch_size=4)
        point = {k: jnp.asarray(v) for k, v in entry.resolve(hparams).items()}
        tx = entry.build(problem, point)
        state = tx.init(params)
        evaluate = entry.eval_params or (lambda state, params: params)
        update = jax.jit(tx.update)
        seen = [(params, evaluate(state, params))]
        for t in range(STEPS):
            grad = jax.tree.map(jnp.asarray, gradient(jax.tree.map(np.asarray, params), t))
            updates, state = update(grad, state, params)
            params = optax.apply_updates(params, updates)
            seen.append((params, evaluate(state, params)))
        return jax.tree.map(np.asarray, seen)


def _assert_same(ours, theirs, rtol):
    for t, ((y, x), (want_y, want_x)) in enumerate(zip(ours, theirs, strict=True)):
        for k in want_y:
            np.testing.assert_allclose(y[k], want_y[k], rtol=rtol, atol=rtol, err_msg=f"{k} at step {t}")
            np.testing.assert_allclose(x[k], want_x[k], rtol=rtol, atol=rtol, err_msg=f"evaluation's {k} at step {t}")


def _warmup_cosine(h, t):
    """AlgoPerf: linear from 0 over int(f H) steps, cosine to 0 over the rest, H = int(horizon x budget)."""
    horizon = int(h["horizon_fraction"] * BUDGET)
    warmup = int(h["warmup_fraction"] * horizon)
    if t < warmup:
        return h["learning_rate"] * t / warmup
    return h["learning_rate"] * (1 + np.cos(np.pi * min((t - warmup) / (horizon - warmup), 1))) / 2


def _adam_like(h, direction):
    """Both AdamW and AlgoPerf's NadamW: x <- x - rate (direction(m, g, t) / (sqrt(v_hat) + eps) + lambda x)."""
    start, gradient = _noisy_quadratic()
    x = {k: p.copy() for k, p in start.items()}
    m, v = ({k: np.zeros_like(p) for k, p in x.items()} for _ in range(2))
    seen = [(dict(x), dict(x))]
    for t in range(1, STEPS + 1):
        g = gradient(x, t - 1)
        for k in x:
            m[k] = h["b1"] * m[k] + (1 - h["b1"]) * g[k]
            v[k] = h["b2"] * v[k] + (1 - h["b2"]) * g[k] ** 2
            v_hat = v[k] / (1 - h["b2"] ** t)
            step = direction(m[k], g[k], t) / (np.sqrt(v_hat) + h["eps"]) + h["weight_decay"] * x[k]
            x[k] = x[k] - _warmup_cosine(h, t - 1) * step
        seen.append((dict(x), dict(x)))
    return seen


POINT = {
    "learning_rate": 0.05,
    "b1": 0.85,
    "b2": 0.97,
    "eps": 1e-8,
    "weight_decay": 0.1,
    "warmup_fraction": 0.2,
    "horizon_fraction": 0.75,
}


def test_nadamw_follows_algoperfs_rule_and_schedule():
    b1 = POINT["b1"]
    theirs = _adam_like(POINT, lambda m, g, t: (b1 * m + (1 - b1) * g) / (1 - b1**t))
    # The schedule is computed in float32, whatever the parameters are.
    _assert_same(_ours("nadamw", POINT), theirs, rtol=2e-6)


def test_adamw_follows_its_papers_rule():
    b1 = POINT["b1"]
    _assert_same(_ours("adamw", POINT), _adam_like(POINT, lambda m, g, t: m / (1 - b1**t)), rtol=2e-6)


def test_first_step_of_nadamw_differs_from_optaxs_by_the_known_ratio():
    b1, grad, params = 0.9, {"w": jnp.array([0.3, -2.0])}, {"w": jnp.zeros(2)}
    entry = registry.load_submission("nadamw")
    problem = spec.Problem.from_params(params, step_budget=100, batch_size=4)
    point = {**POINT, "learning_rate": 0.1, "b1": b1, "weight_decay": 0.0, "warmup_fraction": 0.0}
    steps = {}
    for name, tx in (
        ("ours", entry.build(problem, point)),
        ("optax", optax.nadamw(0.1, b1=b1, b2=point["b2"], weight_decay=0.0)),
    ):
        steps[name] = tx.update(grad, tx.init(params), params)[0]["w"]
    np.testing.assert_allclose(steps["ours"] / steps["optax"], (1 + b1) ** 2 / (1 + 2 * b1), rtol=1e-5)


def test_nesterov_follows_the_rule_with_coupled_decay():
    h = {**POINT, "momentum": 0.9, "weight_decay": 0.01}
    h = {k: h[k] for k in ("learning_rate", "momentum", "weight_decay", "warmup_fraction", "horizon_fraction")}
    x, gradient = _noisy_quadratic()
    buffer = {k: np.zeros_like(p) for k, p in x.items()}
    seen = [(dict(x), dict(x))]
    for t in range(STEPS):
        g = gradient(x, t)
        for k in x:
            d = g[k] + h["weight_decay"] * x[k]
            buffer[k] = h["momentum"] * buffer[k] + d
            x[k] = x[k] - _warmup_cosine(h, t) * (d + h["momentum"] * buffer[k])
        seen.append((dict(x), dict(x)))
    _assert_same(_ours("nesterov", h), seen, rtol=2e-6)


def test_schedule_free_adamw_follows_its_package_with_warmup_and_is_evaluated_at_x():
    """schedulefree 1.4.1, AdamWScheduleFree: y in the parameters, z in the state, x = (y - (1 - b1) z) / b1."""
    h = {k: v for k, v in POINT.items() if k != "horizon_fraction"}
    y, gradient = _noisy_quadratic()
    z, x = dict(y), dict(y)
    v = {k: np.zeros_like(p) for k, p in y.items()}
    warmup, weight_sum, largest = int(h["warmup_fraction"] * BUDGET), 0.0, 0.0
    assert warmup == 12
    seen = [(dict(y), dict(x))]
    for t in range(STEPS):
        rate = h["learning_rate"] * min((t + 1) / warmup, 1)
        largest = max(largest, rate)
        weight_sum += largest**2
        c = largest**2 / weight_sum
        g = gradient(y, t)
        for k in y:
            v[k] = h["b2"] * v[k] + (1 - h["b2"]) * g[k] ** 2
            step = g[k] / (np.sqrt(v[k] / (1 - h["b2"] ** (t + 1))) + h["eps"]) + h["weight_decay"] * y[k]
            z[k] = z[k] - rate * step
            x[k] = (1 - c) * x[k] + c * z[k]
            y[k] = h["b1"] * x[k] + (1 - h["b1"]) * z[k]
        seen.append((dict(y), dict(x)))
    ours = _ours("schedule_free_adamw", h)
    _assert_same(ours, seen, rtol=2e-6)
    trained, evaluated = ours[-1]
    assert np.max(np.abs(trained["w"] - evaluated["w"])) > 1e-4


def test_dog_follows_its_paper_and_is_evaluated_at_the_polynomial_average():
    h = {"learning_rate": 0.7, "reps_rel": 1e-2, "eps": 1e-8, "weight_decay": 0.01, "averaging_alpha": 8.0}
    start, gradient = _noisy_quadratic()
    x = dict(start)
    average = dict(start)

    def norm(tree):
        return np.sqrt(sum(np.sum(p**2) for p in tree.values()))

    reach, total = h["reps_rel"] * (1 + norm(start)), h["eps"]
    seen = [(dict(x), dict(average))]
    for t in range(1, STEPS + 1):
        g = gradient(x, t - 1)
        g = {k: g[k] + h["weight_decay"] * x[k] for k in g}
        reach = max(reach, norm({k: x[k] - start[k] for k in x}))
        total += norm(g) ** 2
        x = {k: x[k] - h["learning_rate"] * reach / np.sqrt(total) * g[k] for k in x}
        weight = (1 + h["averaging_alpha"]) / (t + h["averaging_alpha"])
        average = {k: (1 - weight) * average[k] + weight * x[k] for k in x}
        seen.append((dict(x), dict(average)))
    ours = _ours("dog", h)
    _assert_same(ours, seen, rtol=2e-6)
    np.testing.assert_array_equal(ours[1][0]["w"], ours[1][1]["w"])
    assert np.max(np.abs(ours[-1][0]["w"] - ours[-1][1]["w"])) > 1e-4


# ------------------------------------------------------------------------------------------------------ the contract


@pytest.mark.parametrize("name", NAMES)
def test_shipped_submission_passes_the_contract(name):
    results = list(contract.validate_submission(name))
    assert len(results) == len(contract.SUBMISSION_CHECKS) + 1
    assert [r for r in results if not r.ok] == []


def test_every_shipped_submission_is_tested_here():
    assert sorted(registry.names("submissions")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_shipped_search_space_holds_the_defaults_and_keeps_reserved_names_out(name):
    entry = registry.load_submission(name)
    for dimension, choices in entry.SPACE.items():
        plain = dimension.removeprefix("one_minus_")
        assert plain not in spec.RESERVED
        value = entry.DEFAULTS[plain]
        if value or not choices.log:
            assert 0 <= choices.quantile(1 - value if plain != dimension else value) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_build_accepts_points_of_the_space_and_refuses_unknown_names(name):
    entry = registry.load_submission(name)
    problem = spec.Problem.from_params(contract.toy_params(), step_budget=100, batch_size=8)
    entry.build(problem, {n: d.at(0.5) for n, d in entry.SPACE.items()}).init(contract.toy_params())
    with pytest.raises(errors.UserError, match=r"unknown hyperparameter of submission .*; did you mean 'learning_rate'"):
        entry.build(problem, {"learnin_rate": 0.1})


def test_one_minus_b1_is_b1():
    entry = registry.load_submission("nadamw")
    assert entry.resolve({"one_minus_b1": 0.25})["b1"] == 0.75
    assert "one_minus_b1" not in entry.resolve({"one_minus_b1": 0.25})
    params, problem = {"w": jnp.ones(3)}, spec.Problem.from_params({"w": jnp.ones(3)}, step_budget=9, batch_size=2)
    states = []
    for point in ({"one_minus_b1": 0.25}, {"b1": 0.75}):
        tx = entry.build(problem, point)
        states.append(tx.update(params, tx.init(params), params)[1])
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_label_smoothing_stays_in_the_point_and_out_of_build():
    entry = registry.load_submission("nadamw")
    assert entry.resolve({"label_smoothing": 0.2})["label_smoothing"] == 0.2
    problem = spec.Problem.from_params({"w": jnp.ones(3)}, step_budget=9, batch_size=2)
    entry.build(problem, {"label_smoothing": 0.2, "dropout_rate": 0.1}).init({"w": jnp.ones(3)})
