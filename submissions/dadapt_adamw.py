"""D-Adapt AdamW: AdamW whose learning rate is an estimate, from below, of the distance from the start to a solution.

Source: Defazio and Mishchenko (arXiv 2301.07733), the Adam variant; facebookresearch/dadaptation 3.2, `DAdaptAdam` with
`decouple=True`. Not `optax.contrib.dadapt_adamw`, which always corrects the bias (off by default in the source:
`use_bias_correction`), is NaN for ever if the first gradient or the first learning rate is zero, and keeps its scalars in
the lowest precision of the parameters.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(0.25, 4.0),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(5e-4, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The source's, but for the schedule: its README asks for the one that the problem would have anyway.
DEFAULTS = {
    "learning_rate": 1.0,
    "b1": 0.9,
    "b2": 0.999,
    "eps": 1e-8,
    "estim_lr0": 1e-6,
    "weight_decay": 0.0,
    "use_bias_correction": False,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
}


class DAdaptAdamWState(NamedTuple):
    """Trees have the parameters' shapes; floats are float32 (float64 under x64), beside bfloat16 parameters too."""

    count: jax.Array  # int32 scalar, updates so far: the schedule's
    moves: jax.Array  # int32 scalar, updates that were not held: the bias correction's
    mu: optax.Updates  # holds the learning rate
    nu: optax.Updates
    grad_sum: optax.Updates  # s of the paper
    numerator: jax.Array  # scalar, r of the paper
    estim_lr: jax.Array  # scalar, d of the paper


def dadapt_adamw(
    learning_rate, b1, b2, eps, estim_lr0, weight_decay, *, use_bias_correction
) -> optax.GradientTransformation:
    """x <- x - m / (sqrt(v) + eps) - d gamma_t lambda x, m of d gamma_t g; then d <- max(d, r / ((1 - sqrt(b2)) |s|_1)).

    `learning_rate` is a schedule, the flag is a Python bool, the rest may be traced.
    """

    def init(params):
        mu, nu, grad_sum = (optax.tree.zeros_like(params, float) for _ in range(3))
        none = jnp.zeros([], jnp.int32)
        return DAdaptAdamWState(none, none, mu, nu, grad_sum, jnp.zeros([], float), jnp.asarray(estim_lr0, float))

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("the decay needs the parameters: call update(updates, state, params)")
        grads, x, d = optax.tree.cast(updates, float), optax.tree.cast(params, float), state.estim_lr
        rate, moves, b3 = learning_rate(state.count), state.moves + 1, jnp.sqrt(b2)
        step = d * rate * (jnp.sqrt(1 - b2**moves) / (1 - b1**moves) if use_bias_correction else 1.0)
        way = jax.tree.map(lambda s, v: s / (jnp.sqrt(v) + eps), state.grad_sum, state.nu)
        numerator = b3 * state.numerator + (1 - b3) * step * optax.tree.vdot(grads, way)
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * step * g, state.mu, grads)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g**2, state.nu, grads)
        grad_sum = jax.tree.map(lambda s, g: b3 * s + (1 - b3) * step * g, state.grad_sum, grads)
        denominator = (1 - b3) * optax.tree.norm(grad_sum, ord=1)
        # At 0/0 (no gradient yet) and at a learning rate of zero nothing moves, the state neither, as in the source.
        moved = (rate > 0) & (denominator != 0)
        estim_lr = jnp.maximum(d, numerator / jnp.where(moved, denominator, 1.0))
        steps = jax.tree.map(lambda m, v, p: -m / (jnp.sqrt(v) + eps) - step * weight_decay * p, mu, nu, x)
        after = DAdaptAdamWState(state.count, moves, mu, nu, grad_sum, numerator, estim_lr)
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
    return dadapt_adamw(
        schedule,
        hparams["b1"],
        hparams["b2"],
        hparams["eps"],
        hparams["estim_lr0"],
        hparams["weight_decay"],
        use_bias_correction=hparams["use_bias_correction"],
    )
