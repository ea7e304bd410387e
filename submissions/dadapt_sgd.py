"""D-Adapt SGD: SGD with momentum whose learning rate is an estimate of the distance from the start to a solution.

Source: Defazio and Mishchenko (arXiv 2301.07733), the SGD variant; facebookresearch/dadaptation 3.2, `DAdaptSGD`. optax has
none.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(0.25, 4.0),
    "one_minus_momentum": spec.log_uniform(2e-2, 0.3),
    "weight_decay": spec.log_uniform(1e-7, 1e-3),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The source's, but for the schedule (its README asks for the one that the problem would have anyway) and for momentum, 0 in
# the source: 0.9 as in nesterov.py.
DEFAULTS = {
    "learning_rate": 1.0,
    "momentum": 0.9,
    "estim_lr0": 1e-6,
    "weight_decay": 0.0,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
}


class DAdaptSGDState(NamedTuple):
    """Trees have the parameters' shapes; floats are float32 (float64 under x64), beside bfloat16 parameters too."""

    count: jax.Array  # int32 scalar, updates so far
    start: optax.Params  # x_0
    grad_sum: optax.Updates  # s of the paper
    gradient_norm: jax.Array  # scalar, of the first gradient that is not zero
    numerator: jax.Array  # scalar, sum of lambda <g, s>
    estim_lr: jax.Array  # scalar, d of the paper


def dadapt_sgd(learning_rate, momentum, estim_lr0, weight_decay) -> optax.GradientTransformation:
    """s <- s + d gamma_t g / |g_1|; d <- max(d, 2 r / |s|); x <- momentum x + (1 - momentum) (x_0 - s).

    `learning_rate` is a schedule, the rest may be traced.
    """

    def init(params):
        start = jax.tree.map(lambda p: jnp.array(p, float), params)  # a copy: donation must not meet one buffer twice
        zero = jnp.zeros([], float)
        return DAdaptSGDState(
            jnp.zeros([], jnp.int32), start, optax.tree.zeros_like(start), zero, zero, jnp.asarray(estim_lr0, float)
        )

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("D-Adaptation measures the way from its start: call update(updates, state, params)")
        grads, x, d = optax.tree.cast(updates, float), optax.tree.cast(params, float), state.estim_lr
        # The source takes this norm before the decay, and divides by zero if the first gradient is; here nothing moves
        # until one is not.
        norm = jnp.where(state.gradient_norm == 0, optax.tree.norm(grads), state.gradient_norm)
        step = jnp.where(norm == 0, 0.0, d * learning_rate(state.count) / jnp.where(norm == 0, 1.0, norm))
        grads = jax.tree.map(lambda g, p: g + weight_decay * p, grads, x)
        numerator = state.numerator + step * optax.tree.vdot(grads, state.grad_sum)
        grad_sum = jax.tree.map(lambda s, g: s + step * g, state.grad_sum, grads)
        length = optax.tree.norm(grad_sum)
        estim_lr = jnp.maximum(d, 2 * numerator / jnp.where(length == 0, 1.0, length))  # 0/0 before the first step: d stays
        steps = jax.tree.map(lambda p, x0, s: (1 - momentum) * (x0 - s - p), x, state.start, grad_sum)
        count = jnp.asarray(optax.safe_increment(state.count))
        after = DAdaptSGDState(count, state.start, grad_sum, norm, numerator, estim_lr)
        return optax.tree.cast_like(steps, params), after

    return optax.GradientTransformation(init, update)


def build(problem, hparams):
    """The schedule multiplies the estimated learning rate; the decay is coupled: it is added to the gradient."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    return dadapt_sgd(schedule, hparams["momentum"], hparams["estim_lr0"], hparams["weight_decay"])
