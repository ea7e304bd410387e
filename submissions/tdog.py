"""T-DoG, tamed DoG: the variant of DoG with a proof that its iterates stay bounded; no learning rate to tune.

Source: Ivgi, Hinder and Carmon, "DoG is SGD's Best Friend" (arXiv 2302.12022), section 3.3, for stochastic convex
problems. The authors' package does not have it, and the formula was written down from memory of the paper, not from its
text. The power of theta was derived anew: the time-uniform concentration bound behind the theorem has the width
8 sqrt(theta v + theta^2 b^2), v the sum of (<gradient noise, direction> / sqrt(G'))^2 and b its largest term, and this is
a constant for all theta only if G' grows as theta^2.

Not as there: the paper assumes that a bound l(x) on the norm of the stochastic gradient is known at every x. The largest
norm observed so far stands for it, so the theorem is not claimed. The constants make steps thousands of times shorter
than DoG's: at `learning_rate` 1, the source's value, they are lost in the rounding of float32 parameters.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import averaging, spec

SPACE = {
    "learning_rate": spec.log_uniform(1.0, 1e4),
    "reps_rel": spec.log_uniform(1e-6, 1e-3),
    "delta": spec.log_uniform(1e-4, 0.5),
    "weight_decay": spec.log_uniform(1e-7, 1e-3),
}
# As dog but for the learning rate, 1 in the source: at that, steps are too short for float32 to add them to any weight over
# 0.1. delta, the probability of failure, is free in the paper.
DEFAULTS = {
    "learning_rate": 1000.0,
    "reps_rel": 1e-4,
    "delta": 0.01,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "averaging_alpha": 8.0,
}


class TDogState(NamedTuple):
    """What T-DoG knows of the way so far."""

    count: jax.Array  # int32 scalar, t
    reach: jax.Array  # scalar, the largest distance from the start, r in the paper
    total: jax.Array  # scalar, G: sum of squared gradient norms
    bound: jax.Array  # scalar, l^2: the largest squared gradient norm
    first: jax.Array  # scalar, l_0^2: the first squared gradient norm that is not 0
    start: optax.Params


def scale_by_tdog(reps_rel, theta, eps) -> optax.GradientTransformation:
    """reach / sqrt(G') times the gradient, all norms over all parameters.

    G'_t = 8^4 theta^2 log+(1 + t l_t^2 / l_0^2)^2 (G_{t-1} + 16 l_t^2), log+ = 1 + log, t from 0; the first reach is
    reps_rel (1 + ||x_0||).
    """

    def init(params):
        zero = jnp.zeros([])
        reach = jnp.asarray(reps_rel * (1.0 + optax.tree.norm(params)), float)
        return TDogState(jnp.zeros([], jnp.int32), reach, zero, zero, zero, params)

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("tdog needs the parameters: call update(updates, state, params)")
        square = optax.tree.norm(updates, squared=True)
        reach = jnp.maximum(state.reach, optax.tree.norm(optax.tree.sub(params, state.start)))
        bound = jnp.maximum(state.bound, square)
        first = jnp.where(state.first > 0, state.first, square)
        growth = state.count * bound / jnp.where(first > 0, first, 1.0)
        tamed = 8.0**4 * theta**2 * (1.0 + jnp.log1p(growth)) ** 2 * (state.total + 16.0 * bound)
        count = jnp.asarray(optax.safe_increment(state.count))
        new = TDogState(count, reach, state.total + square, bound, first, state.start)
        return optax.tree.scale(reach / jnp.sqrt(tamed + eps), updates), new

    return optax.GradientTransformation(init, update)


def build(problem, hparams):
    """`learning_rate` multiplies T-DoG's own step (1 in the paper); the decay is coupled and enters the norms."""
    theta = jnp.log(60.0 * jnp.log(6.0 * problem.step_budget) / hparams["delta"])
    tdog = optax.chain(
        optax.add_decayed_weights(hparams["weight_decay"]),
        scale_by_tdog(hparams["reps_rel"], theta, hparams["eps"]),
        optax.scale_by_learning_rate(hparams["learning_rate"]),
    )
    return averaging.polynomial_decay(tdog, hparams["averaging_alpha"])


eval_params = averaging.averaged_params
