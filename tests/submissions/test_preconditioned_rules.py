"""Preconditioned methods, VRGD and the averaged NadamW against NumPy transcriptions; identities; roles of kernels."""

import collections
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
import scipy.linalg

from algoperf_lite import registry, spec
from tests.submissions.driver import CONSTANT, assert_agrees, deviation, drive
from tests.submissions.problem import noisy_quadratic

TRANSCRIBED = {"shampoo", "vrgd", "nadamw_ema", "nadamw_lawa"}
OURS = ("muon", "soap", "shampoo", "sophia", "sam", "vrgd", "lookahead", "nadamw_ema", "nadamw_lawa")
MATRIX_METHODS = ("muon", "soap", "shampoo")
STEPS = 40
BUDGET = 60
PROBLEM = noisy_quadratic(steps=STEPS, still=("b",))
POINT = {
    "learning_rate": 0.05,
    "b1": 0.85,
    "b2": 0.97,
    "eps": 1e-8,
    "weight_decay": 0.1,
    "warmup_fraction": 0.2,
    "horizon_fraction": 0.75,
}


def _role(kind, shape, inputs):
    fans = math.prod(shape[:inputs]), math.prod(shape[inputs:])
    return spec.Role(kind, *fans, *fans)


def _rate(h, t):
    """Linear from 0 over int(f H) steps, cosine to 0 over the rest, H = int(horizon x budget)."""
    horizon = int(h["horizon_fraction"] * BUDGET)
    warmup = int(h["warmup_fraction"] * horizon)
    if t < warmup:
        return h["learning_rate"] * t / warmup
    return h["learning_rate"] * (1 + np.cos(np.pi * min((t - warmup) / (horizon - warmup), 1))) / 2


# --------------------------------------------------------------------------------------------- averaged NadamW


def _evaluated(name, h):
    """Trajectory, after it is sure that the iterates are those of `nadamw`."""
    ours = drive(name, {**POINT, **h}, PROBLEM, STEPS, step_budget=BUDGET)
    plain = drive("nadamw", POINT, PROBLEM, STEPS, step_budget=BUDGET)
    for (trained, _), (expected, _) in zip(ours, plain, strict=True):
        jax.tree.map(np.testing.assert_array_equal, trained, expected)
    return ours


def test_nadamw_ema_trains_as_nadamw_and_is_evaluated_at_the_debiased_average():
    ours = _evaluated("nadamw_ema", {"window_fraction": 0.1})
    decay, moment = 1 - 1 / (0.1 * BUDGET), dict.fromkeys(ours[0][0], 0.0)
    theirs = [(ours[0][0], ours[0][0])]
    for t, (x, _) in enumerate(ours[1:], 1):
        moment = {k: decay * moment[k] + (1 - decay) * x[k] for k in x}
        theirs.append((x, {k: m / (1 - decay**t) for k, m in moment.items()}))
    assert_agrees("nadamw_ema", ours, theirs, 1e-13)


def test_nadamw_lawa_trains_as_nadamw_and_is_evaluated_at_the_mean_of_its_latest_checkpoints():
    ours = _evaluated("nadamw_lawa", {"k": 4, "every_fraction": 0.04, "start_fraction": 0.1})
    queue, theirs = collections.deque(maxlen=4), []  # steps 6, 9, 12, ...: every ceil(2.4) from 6 on
    for t, (x, _) in enumerate(ours):
        if t >= 6 and t % 3 == 0:
            queue.append(x)
        mean = {k: np.mean([one[k] for one in queue], axis=0) for k in x} if len(queue) == 4 else x
        theirs.append((x, mean))
    assert_agrees("nadamw_lawa", ours, theirs, 1e-13)


# ------------------------------------------------------------------------------------------------------ Shampoo

SHAMPOO_SHAPES = {"w": (5, 7), "c": (2, 2, 3, 4), "e": (6, 3), "b": (4,), "s": ()}
SHAMPOO_ROLES = {
    "w": _role("matrix", (5, 7), 1),
    "c": _role("conv", (2, 2, 3, 4), 3),
    "e": _role("embedding", (6, 3), 1),
    "b": _role("bias", (4,), 0),
    "s": _role("scalar", (), 0),
}


def test_shampoo_follows_distributed_shampoos_rule_in_blocks_with_grafting():
    """Shi et al., Algorithm 1 and section 3: blocks, moving averages with bias correction, roots, Adam's norm per block."""
    h = {**POINT, "eps": 1e-4, "grafting_eps": 1e-8, "frequency": 4, "block_size": 3}
    problem = noisy_quadratic(SHAMPOO_SHAPES, STEPS, still=("b",))
    x, b1, b2 = dict(problem.start), h["b1"], h["b2"]
    m, v = ({k: np.zeros_like(p) for k, p in x.items()} for _ in range(2))
    factors, roots = {}, {}
    seen = [(dict(x), dict(x))]
    for t in range(1, STEPS + 1):
        g = problem.gradient(x, t - 1)
        for k in x:
            m[k] = b1 * m[k] + (1 - b1) * g[k]
            v[k] = b2 * v[k] + (1 - b2) * g[k] ** 2
            n = (b1 * m[k] + (1 - b1) * g[k]) / (1 - b1**t)
            step = n / (np.sqrt(v[k] / (1 - b2**t)) + h["grafting_eps"])
            if k in ("w", "c"):
                columns = x[k].shape[-1]
                g2, n2, step = (np.array(a).reshape(-1, columns) for a in (g[k], n, step))
                for i in range(0, len(g2), 3):
                    for j in range(0, columns, 3):
                        at = slice(i, i + 3), slice(j, j + 3)
                        new = g2[at] @ g2[at].T, g2[at].T @ g2[at]
                        old = factors.get((k, i, j), (0.0, 0.0))
                        factors[k, i, j] = tuple(b2 * f + (1 - b2) * s for f, s in zip(old, new, strict=True))
                        if t % h["frequency"] == 0:
                            roots[k, i, j] = [
                                scipy.linalg.fractional_matrix_power(f / (1 - b2**t) + h["eps"] * np.eye(len(f)), -1 / 4)
                                for f in factors[k, i, j]
                            ]
                        if t >= h["frequency"]:
                            left, right = roots[k, i, j]
                            direction = left @ n2[at] @ right
                            step[at] = direction * np.linalg.norm(step[at]) / np.linalg.norm(direction)
                step = step.reshape(x[k].shape)
            x[k] = x[k] - _rate(h, t - 1) * (step + h["weight_decay"] * x[k])
        seen.append((dict(x), dict(x)))
    ours = drive("shampoo", h, problem, STEPS, step_budget=BUDGET, roles=SHAMPOO_ROLES)
    assert_agrees("shampoo", ours, seen, 1e-12)


def _first_steps(name, h, gradient, roles=None, steps=1):
    """(updates, last state) of a shipped submission at parameters of zero under one gradient, in double precision."""
    entry = registry.load_submission(name)
    with jax.enable_x64(True):
        gradient = jax.tree.map(jnp.asarray, gradient)
        params = jax.tree.map(jnp.zeros_like, gradient)
        problem = spec.Problem.from_params(params, step_budget=BUDGET, batch_size=8, roles=roles)
        tx = entry.build(problem, {**h, **CONSTANT})
        state, found = tx.init(params), []
        for _ in range(steps):
            updates, state = jax.jit(tx.update)(gradient, state, params)
            found.append(jax.tree.map(np.asarray, updates))
        return found, jax.tree.map(np.asarray, state)


@pytest.mark.parametrize("shape", [(4, 4), (4, 6), (6, 3)])
def test_first_step_of_shampoo_is_the_polar_factor_with_adams_norm(shape):
    g = np.random.default_rng(1).standard_normal(shape)
    h = {"learning_rate": 0.1, "frequency": 1, "eps": 1e-14, "weight_decay": 0.0}
    [step], _ = _first_steps("shampoo", h, {"w": g})
    u, _, vt = np.linalg.svd(g, full_matrices=False)
    b1 = registry.load_submission("shampoo").DEFAULTS["b1"]
    norm = (1 + b1) * math.sqrt(g.size)  # NAdam's first step is (1 + b1) sign(g)
    np.testing.assert_allclose(step["w"], -0.1 * norm / math.sqrt(min(shape)) * (u @ vt), rtol=1e-4, atol=1e-6)


# --------------------------------------------------------------------------------------------------------- SOAP


def _adam(g, h, t):
    """Adam's step t from 1 under a constant gradient."""
    m, v = (1 - h["b1"] ** t) * g, (1 - h["b2"] ** t) * g**2
    return -h["learning_rate"] * m / (1 - h["b1"] ** t) / (np.sqrt(v / (1 - h["b2"] ** t)) + h["eps"])


SOAP = {"learning_rate": 0.1, "b1": 0.9, "b2": 0.8, "eps": 0.0, "weight_decay": 0.0, "frequency": 3}


def test_soap_is_adam_from_its_second_step_where_the_basis_is_the_identity():
    """A diagonal gradient has the axes as its eigenvectors, in either sign; Adam is the same in any order of them."""
    g = np.diag([0.1, -3.0, 2.0, 0.5])
    found, _ = _first_steps("soap", {**SOAP, "eps": 1e-8}, {"w": g, "b": np.array([1.0, -2.0])}, steps=8)
    np.testing.assert_array_equal(found[0]["w"], 0)
    np.testing.assert_array_equal(found[0]["b"], 0)
    for t, step in enumerate(found[1:], 1):
        np.testing.assert_allclose(step["w"], _adam(g, {**SOAP, "eps": 1e-8}, t), atol=1e-7)
        np.testing.assert_allclose(step["b"], _adam(np.array([1.0, -2.0]), {**SOAP, "eps": 1e-8}, t), atol=1e-7)


def test_side_of_a_kernel_over_max_dim_keeps_the_identity():
    rng = np.random.default_rng(3)
    gradient = {"w": rng.standard_normal((4, 6))}
    (_, step), state = _first_steps("soap", {**SOAP, "max_dim": 5}, gradient, steps=2)
    left, right = state.bases[0]
    assert left.shape == (4, 4)
    assert right is None
    np.testing.assert_allclose(left.T @ left, np.eye(4), atol=1e-12)
    turned = left.T @ gradient["w"]
    np.testing.assert_allclose(left.T @ step["w"], -0.1 * np.sign(turned), rtol=1e-6)
    (_, step), state = _first_steps("soap", {**SOAP, "max_dim": 3}, gradient, steps=2)
    assert state.bases == [(None, None)]
    np.testing.assert_allclose(step["w"], -0.1 * np.sign(gradient["w"]), rtol=1e-6)


# --------------------------------------------------------------------------------------------------------- Muon


def _muon_direction(gradient):
    """The first update over learning rate and scale."""
    h = {"learning_rate": 0.1, "weight_decay": 0.0, "eps": 1e-12}
    [step], _ = _first_steps("muon", h, {"w": gradient})
    return step["w"] / (-0.1 * 0.2 * math.sqrt(max(gradient.shape)))


@pytest.mark.parametrize("shape", [(32, 64), (64, 32), (20, 96)])
def test_muon_orthogonalises_up_to_its_known_slack_whatever_sign_and_scale(shape):
    g = np.random.default_rng(2).standard_normal(shape)
    direction = _muon_direction(g)
    values = np.linalg.svd(direction, compute_uv=False)
    assert 0.6 < np.min(values) <= np.max(values) < 1.2
    u, _, vt = np.linalg.svd(g, full_matrices=False)
    off = u.T @ direction @ vt.T - np.diag(np.diag(u.T @ direction @ vt.T))
    np.testing.assert_allclose(off, 0, atol=1e-10)  # it changes no singular vector
    flip = np.where(np.arange(shape[0]) % 3, 1.0, -1.0)[:, None]
    np.testing.assert_allclose(_muon_direction(flip * g), flip * direction, atol=1e-10)
    for c in (1e-3, 1e3):
        np.testing.assert_allclose(_muon_direction(c * g), direction, atol=1e-6)


KERNELS = {
    "matrix": ((6, 8), 1),
    "recurrent": ((5, 20), 1),
    "conv": ((3, 3, 2, 8), 3),
    "query": ((8, 2, 4), 1),
    "key": ((8, 2, 4), 1),
    "value": ((8, 2, 4), 1),
    "attention_out": ((2, 4, 8), 2),
}
OTHERS = {
    "input": ((7, 8), 1),
    "embedding": ((11, 8), 1),
    "readout": ((8, 5), 1),
    "depthwise": ((3, 1, 8), 2),
    "position": ((9, 8), 1),
    "norm": ((8,), 0),
    "bias": ((8,), 0),
    "scalar": ((), 0),
}


def test_only_hidden_kernels_are_matrices_of_inputs_and_outputs():
    assert set(KERNELS) == set(spec.HIDDEN_KERNELS)
    assert set(KERNELS) | set(OTHERS) == set(spec.ROLES)
    for kind, (shape, inputs) in KERNELS.items():
        assert _role(kind, shape, inputs).input_axes(shape) == inputs
        assert spec.Role(kind, 4, 1, 4, 1).input_axes((4,)) == 0
    for kind, (shape, inputs) in OTHERS.items():
        assert _role(kind, shape, inputs).input_axes(shape) == 0
    assert spec.Role("matrix", 6, 4, 6, 4).input_axes((4, 6)) == 1  # outputs first: still a matrix


def _orthogonalised(updates):
    """Names of the parameters whose first update has nearly equal singular values, and is not of signs as Adam's is."""
    found = set()
    for name, (shape, inputs) in {**KERNELS, **OTHERS}.items():
        update = np.asarray(updates[name]).reshape(math.prod(shape[:inputs]), -1)
        values = np.linalg.svd(update, compute_uv=False)
        if np.ptp(np.abs(update)) > 1e-3 * np.max(np.abs(update)) and values[-1] > 0.4 * values[0]:
            found.add(name)
    return found


def test_muon_takes_hidden_kernels_by_their_roles_where_optaxs_takes_what_has_two_axes():
    rng, every = np.random.default_rng(5), {**KERNELS, **OTHERS}
    gradient = {name: np.array(rng.standard_normal(shape)) for name, (shape, _) in every.items()}
    roles = {name: _role(name, *rest) for name, rest in every.items()}
    [step], _ = _first_steps("muon", {"learning_rate": 0.1, "weight_decay": 0.0}, gradient, roles)
    assert _orthogonalised(step) == set(KERNELS)
    for name in OTHERS:
        np.testing.assert_allclose(step[name], -0.1 * np.sign(gradient[name]), rtol=1e-5)
    for name in KERNELS:
        assert 0.13 < np.sqrt(np.mean(step[name] ** 2)) / 0.1 < 0.24  # 0.2 times singular values of about one
    naive = optax.contrib.muon(0.1, consistent_rms=0.2)
    params = jax.tree.map(jnp.zeros_like, gradient)
    theirs, _ = naive.update(jax.tree.map(jnp.asarray, gradient), naive.init(params), params)
    assert {"embedding", "readout"} <= _orthogonalised(theirs)
    assert not {"conv", "query", "attention_out"} & _orthogonalised(theirs)


@pytest.mark.parametrize("name", MATRIX_METHODS)
@pytest.mark.parametrize(("kind", "shape", "inputs"), [("conv", (2, 1, 3, -1), 3), ("query", (6, -1, 2), 1)])
def test_kernel_of_more_axes_is_treated_as_its_matrix(name, kind, shape, inputs):
    # SOAP's first basis is arbitrary, down to the last bit of rounding, where one gradient does not span a side.
    columns = 6 if name == "soap" else 4
    shape = np.empty((6, columns)).reshape(shape).shape
    h = {"frequency": 2, "block_size": 3} if name == "shampoo" else {"frequency": 2} if name == "soap" else {}
    folded = drive(name, h, noisy_quadratic({"w": shape}, 9), 9, roles={"w": _role(kind, shape, inputs)})
    matrix = {"w": _role("matrix", (6, columns), 1)}
    plain = drive(name, h, noisy_quadratic({"w": (6, columns)}, 9), 9, roles=matrix)
    for (a, _), (b, _) in zip(folded, plain, strict=True):
        np.testing.assert_allclose(a["w"].reshape(6, columns), b["w"], atol=1e-9 if name == "soap" else 1e-12)
    assert np.max(np.abs(folded[-1][0]["w"] - folded[0][0]["w"])) > 1e-3


# ------------------------------------------------------------------------------------------------------- Sophia


def test_sophia_estimates_the_diagonal_by_the_steps_own_signs():
    """Of H = ((a, c), (c, b)) the estimate is (a + s c, b + s c) with s = u_1 u_2, plus or minus one."""
    hessian, params = jnp.array([[3.0, 0.5], [0.5, 2.0]]), {"w": jnp.array([0.1, -0.1])}
    entry = registry.load_submission("sophia")
    assert entry.EXTRA_ARGS == ("hvp_fn", "key")
    problem = spec.Problem.from_params(params, step_budget=BUDGET, batch_size=8)
    tx = entry.build(problem, {**CONSTANT, "b2": 0.75, "update_interval": 2})
    start = tx.init(params)

    def step(key, state):
        grads = {"w": hessian @ params["w"]}
        return tx.update(grads, state, params, hvp_fn=lambda p, v: {"w": hessian @ v["w"]}, key=jax.random.key(key))

    found = {tuple(np.round(step(key, start)[1][0].hessian["w"] / 0.25, 5).tolist()) for key in range(12)}
    assert found == {(3.5, 2.5), (2.5, 1.5)}
    _, after = step(0, start)
    _, still = step(1, after)
    np.testing.assert_array_equal(still[0].hessian["w"], after[0].hessian["w"])  # renewed in every second step only


# ------------------------------------------------------------------------------------------- SAM and Lookahead


def test_sam_of_radius_zero_is_adamw():
    h = {**POINT, "weight_decay": 0.05}
    ours = drive("sam", {**h, "rho": 0.0}, PROBLEM, STEPS, step_budget=BUDGET)
    assert deviation(ours, drive("adamw", h, PROBLEM, STEPS, step_budget=BUDGET)) <= 1e-14


def test_lookahead_that_always_follows_is_adamw_and_else_is_evaluated_at_the_slow_weights():
    h = {**POINT, "weight_decay": 0.05}
    adamw = drive("adamw", h, PROBLEM, STEPS, step_budget=BUDGET)
    ours = drive("lookahead", {**h, "sync_period": 1, "slow_step_size": 1.0}, PROBLEM, STEPS, step_budget=BUDGET)
    assert deviation(ours, adamw) <= 1e-14
    ours = drive("lookahead", {**h, "sync_period": 4, "slow_step_size": 0.5}, PROBLEM, 8, step_budget=BUDGET)
    for t, (fast, slow) in enumerate(ours):
        synchronised = np.allclose(fast["w"], slow["w"], atol=1e-14)
        assert synchronised == (t % 4 == 0 or t == 1)  # the first update has learning rate zero
        np.testing.assert_array_equal(slow["w"], ours[t - t % 4][1]["w"])


# --------------------------------------------------------------------------------------------------------- VRGD


@pytest.mark.parametrize(("base", "k"), [("adam", 4), ("sgd", 2), ("adam", 8)])
def test_vrgd_follows_its_paper(base, k):
    """r = mean(g)^2 / var(g) over k parts, over its mean per tensor, in [gamma, 1]; VR-Adam averages it with b3."""
    h = {**POINT, "base": base, "k": k, "gamma": 0.2, "b3": 0.7, "momentum": 0.8}
    x = dict(PROBLEM.start)
    m, v, p = ({name: np.zeros_like(leaf) for name, leaf in x.items()} for _ in range(3))
    b3 = h["b3"] if base == "adam" else 0.0
    clipped = 0
    seen = [(dict(x), dict(x))]
    for t in range(1, STEPS + 1):
        parts = PROBLEM.part_gradients(x, t - 1, k)
        for name in x:
            mean = np.mean(parts[name], axis=0)
            r = mean**2 / (np.mean(parts[name] ** 2, axis=0) - mean**2)
            r = r / np.mean(r)
            clipped += np.sum((r < 0.2) | (r > 1))
            p[name] = b3 * p[name] + (1 - b3) * np.clip(r, 0.2, 1)
            g = p[name] / (1 - b3**t) * mean
            if base == "adam":
                m[name] = h["b1"] * m[name] + (1 - h["b1"]) * g
                v[name] = h["b2"] * v[name] + (1 - h["b2"]) * g**2
                step = m[name] / (1 - h["b1"] ** t) / (np.sqrt(v[name] / (1 - h["b2"] ** t)) + h["eps"])
            else:
                m[name] = step = h["momentum"] * m[name] + g
            x[name] = x[name] - _rate(h, t - 1) * (step + h["weight_decay"] * x[name])
        seen.append((dict(x), dict(x)))
    assert 100 < clipped < 28 * STEPS - 100
    assert_agrees("vrgd", drive("vrgd", h, PROBLEM, STEPS, step_budget=BUDGET), seen, 1e-11)


# ------------------------------------------------------------------------------------------------- all of them


@pytest.mark.parametrize(
    ("name", "interval"), [("soap", "frequency"), ("shampoo", "frequency"), ("sophia", "update_interval")]
)
def test_period_is_that_of_the_defaults(name, interval):
    entry = registry.load_submission(name)
    assert entry.PERIOD == entry.DEFAULTS[interval] > 1


@pytest.mark.parametrize("shape", [(), (3,), (1, 4), (2, 3), (4, 2, 3), (2, 2, 2, 3)])
@pytest.mark.parametrize("name", OURS)
def test_any_shape_and_a_tree_of_one_leaf_keep_their_types_in_low_precision(name, shape):
    entry, params = registry.load_submission(name), jnp.ones(shape, jnp.bfloat16)
    tx = entry.build(spec.Problem.from_params(params, step_budget=BUDGET, batch_size=8), {})

    def loss(p):
        return jnp.sum(p**2)

    more = {
        "grad_fn": jax.value_and_grad(loss),
        "hvp_fn": lambda p, v: 2 * v,
        "key": jax.random.key(0),
        "micro_grad_fn": lambda p, k: (jnp.ones(k), jnp.ones((k, *p.shape), p.dtype)),
    }
    more = {k: v for k, v in more.items() if k in entry.EXTRA_ARGS}
    state = jax.eval_shape(tx.init, params)
    updates, after = jax.eval_shape(lambda s: tx.update(params, s, params, value=loss(params), **more), state)
    assert (updates.shape, updates.dtype) == (params.shape, params.dtype)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert all(x.dtype != jnp.bfloat16 for x in jax.tree.leaves(state) if x.shape == () and shape)
