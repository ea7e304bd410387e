"""Prodigy: AdamW whose learning rate is an estimate, from below, of the distance from the start to a solution.

Source: Mishchenko and Defazio (arXiv 2306.06101), the Adam variant; konstmish/prodigy 1.1.2. Not `optax.contrib.prodigy`,
which always corrects the bias (off by default in the source: `use_bias_correction`), is NaN for ever if the first gradient
or the first learning rate is zero, and keeps its scalars in the lowest precision of the parameters.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import schedules, spec

SPACE = {
    "estim_lr_coef": spec.log_uniform(0.25, 4.0),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(5e-4, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The source's, but for the schedule: its README asks for `safeguard_warmup` where there is a warm-up.
DEFAULTS = {
    "learning_rate": 1.0,
    "b1": 0.9,
    "b2": 0.999,
    "eps": 1e-8,
    "estim_lr0": 1e-6,
    "estim_lr_coef": 1.0,
    "weight_decay": 0.0,
    "use_bias_correction": False,
    "safeguard_warmup": True,
    "warmup_fraction": 0.05,
    "horizon_fraction": 0.75,
}


class ProdigyState(NamedTuple):
    """Trees have the parameters' shapes; floats are float32 (float64 under x64), beside bfloat16 parameters too."""

    count: jax.Array  # int32 scalar, updates so far: the schedule's
    moves: jax.Array  # int32 scalar, updates that were not held: the bias correction's
    start: optax.Params  # x_0
    mu: optax.Updates
    nu: optax.Updates
    grad_sum: optax.Updates  # s of the paper
    numerator: jax.Array  # scalar, r of the paper
    estim_lr: jax.Array  # scalar, d of the paper


def prodigy(
    learning_rate, b1, b2, eps, estim_lr0, estim_lr_coef, weight_decay, *, use_bias_correction, safeguard_warmup
) -> optax.GradientTransformation:
    """x <- x - d gamma_t (m / (sqrt(v) + d' eps) + lambda x), with d' = max(d, coef r / |s|_1) the next d.

    `learning_rate` is a schedule, the two flags are Python bools, the rest may be traced.
    """

    def init(params):
        start = jax.tree.map(lambda p: jnp.array(p, float), params)  # a copy: donation must not meet one buffer twice
        mu, nu, grad_sum = (optax.tree.zeros_like(start) for _ in range(3))
        none, zero = jnp.zeros([], jnp.int32), jnp.zeros([], float)
        return ProdigyState(none, none, start, mu, nu, grad_sum, zero, jnp.asarray(estim_lr0, float))

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("Prodigy measures the way from its start: call update(updates, state, params)")
        grads, x, d = optax.tree.cast(updates, float), optax.tree.cast(params, float), state.estim_lr
        rate, moves, b3 = learning_rate(state.count), state.moves + 1, jnp.sqrt(b2)
        step = d * rate * (jnp.sqrt(1 - b2**moves) / (1 - b1**moves) if use_bias_correction else 1.0)
        weight = d / estim_lr0
        numerator = b3 * state.numerator + weight * step * optax.tree.vdot(grads, optax.tree.sub(state.start, x))
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * d * g, state.mu, grads)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * (d * g) ** 2, state.nu, grads)
        length = weight * (d if safeguard_warmup else step)
        grad_sum = jax.tree.map(lambda s, g: b3 * s + length * g, state.grad_sum, grads)
        denominator = optax.tree.norm(grad_sum, ord=1)
        # At 0/0 (no gradient yet) and at a learning rate of zero nothing moves, the state neither, as in the source.
        moved = (rate > 0) & (denominator != 0)
        estim_lr = jnp.maximum(d, estim_lr_coef * numerator / jnp.where(moved, denominator, 1.0))
        steps = jax.tree.map(lambda m, v, p: -step * (m / (jnp.sqrt(v) + estim_lr * eps) + weight_decay * p), mu, nu, x)
        after = ProdigyState(state.count, moves, state.start, mu, nu, grad_sum, numerator, estim_lr)
        after = optax.tree.where(moved, after, state)._replace(count=optax.safe_increment(state.count))
        return optax.tree.cast_like(optax.tree.where(moved, steps, optax.tree.zeros_like(steps)), params), after

    return optax.GradientTransformation(init, update)


def build(problem, hparams):
    """The schedule multiplies the estimated learning rate, and the decoupled decay with it."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    return prodigy(
        schedule,
        hparams["b1"],
        hparams["b2"],
        hparams["eps"],
        hparams["estim_lr0"],
        hparams["estim_lr_coef"],
        hparams["weight_decay"],
        use_bias_correction=hparams["use_bias_correction"],
        safeguard_warmup=hparams["safeguard_warmup"],
    )
