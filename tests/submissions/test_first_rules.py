"""AdamW, NadamW, Nesterov, Schedule-Free AdamW and DoG against plain-NumPy transcriptions of their sources."""

import jax.numpy as jnp
import numpy as np
import optax

from algoperf_lite import registry, spec
from tests.submissions.driver import assert_agrees, drive
from tests.submissions.problem import noisy_quadratic

TRANSCRIBED = {"adamw", "dog", "nadamw", "nesterov", "schedule_free_adamw"}
STEPS = 50
BUDGET = 60
PROBLEM = noisy_quadratic(steps=STEPS, still=("b",))
TOLERANCE = 1e-10


def _assert_follows(name, hparams, theirs):
    ours = drive(name, hparams, PROBLEM, STEPS, step_budget=BUDGET)
    assert_agrees(name, ours, theirs, TOLERANCE)
    return ours


def _warmup_cosine(h, t):
    """AlgoPerf: linear from 0 over int(f H) steps, cosine to 0 over the rest, H = int(horizon x budget)."""
    horizon = int(h["horizon_fraction"] * BUDGET)
    warmup = int(h["warmup_fraction"] * horizon)
    if t < warmup:
        return h["learning_rate"] * t / warmup
    return h["learning_rate"] * (1 + np.cos(np.pi * min((t - warmup) / (horizon - warmup), 1))) / 2


def _adam_like(h, direction):
    """Both AdamW and AlgoPerf's NadamW: x <- x - rate (direction(m, g, t) / (sqrt(v_hat) + eps) + lambda x)."""
    start, gradient = PROBLEM.start, PROBLEM.gradient
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
    _assert_follows("nadamw", POINT, theirs)


def test_adamw_follows_its_papers_rule():
    b1 = POINT["b1"]
    _assert_follows("adamw", POINT, _adam_like(POINT, lambda m, g, t: m / (1 - b1**t)))


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
    x, gradient = dict(PROBLEM.start), PROBLEM.gradient
    buffer = {k: np.zeros_like(p) for k, p in x.items()}
    seen = [(dict(x), dict(x))]
    for t in range(STEPS):
        g = gradient(x, t)
        for k in x:
            d = g[k] + h["weight_decay"] * x[k]
            buffer[k] = h["momentum"] * buffer[k] + d
            x[k] = x[k] - _warmup_cosine(h, t) * (d + h["momentum"] * buffer[k])
        seen.append((dict(x), dict(x)))
    _assert_follows("nesterov", h, seen)


def test_schedule_free_adamw_follows_its_package_with_warmup_and_is_evaluated_at_x():
    """schedulefree 1.4.1, AdamWScheduleFree: y in the parameters, z in the state, x = (y - (1 - b1) z) / b1."""
    h = {k: v for k, v in POINT.items() if k != "horizon_fraction"}
    y, gradient = dict(PROBLEM.start), PROBLEM.gradient
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
    ours = _assert_follows("schedule_free_adamw", h, seen)
    trained, evaluated = ours[-1]
    assert np.max(np.abs(trained["w"] - evaluated["w"])) > 1e-4


def test_dog_follows_its_paper_and_is_evaluated_at_the_polynomial_average():
    h = {"learning_rate": 0.7, "reps_rel": 1e-2, "eps": 1e-8, "weight_decay": 0.01, "averaging_alpha": 8.0}
    start, gradient = PROBLEM.start, PROBLEM.gradient
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
    ours = _assert_follows("dog", h, seen)
    np.testing.assert_array_equal(ours[1][0]["w"], ours[1][1]["w"])
    assert np.max(np.abs(ours[-1][0]["w"] - ours[-1][1]["w"])) > 1e-4
