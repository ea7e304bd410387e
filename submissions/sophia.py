"""Sophia-H: momentum over an estimate of the Hessian's diagonal, every coordinate of the step clipped to one.

Source: Liu et al., "Sophia" (arXiv 2305.14342), Algorithms 1 and 3. As there and unlike `optax.contrib.sophia`, a step uses
the estimate made in it (optax's first step divides by zero and so is one of signs) and momentum has no bias correction. The
random vector is of signs, not normal: less variance, none at all where the Hessian is diagonal. Decay as in the paper.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import schedules, spec

EXTRA_ARGS = ("hvp_fn", "key")
PERIOD = 10
SPACE = {
    "learning_rate": spec.log_uniform(3e-4, 3e-2),
    "one_minus_b1": spec.log_uniform(1e-2, 0.3),
    "one_minus_b2": spec.log_uniform(2e-3, 0.1),
    "gamma": spec.log_uniform(1e-3, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The paper's, but for the learning rate (below AdamW's there as here).
DEFAULTS = {
    "learning_rate": 4e-3,
    "b1": 0.96,
    "b2": 0.99,
    "gamma": 0.01,
    "eps": 1e-12,
    "weight_decay": 0.2,
    "update_interval": PERIOD,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
}


class SophiaState(NamedTuple):
    """Momentum and the Hessian's diagonal, each of the parameters' shapes."""

    count: jax.Array  # int32 scalar, updates so far
    mu: optax.Updates
    hessian: optax.Updates


def scale_by_sophia(b1, b2, gamma, eps, update_interval) -> optax.GradientTransformationExtraArgs:
    """clip(m / max(gamma h, eps), 1); h is renewed in the first of every `update_interval` steps, at a product with H."""

    def init(params):
        return SophiaState(jnp.zeros([], jnp.int32), optax.tree.zeros_like(params), optax.tree.zeros_like(params))

    def update(updates, state, params=None, *, hvp_fn, key, **extra):
        del extra

        def estimate():
            assert params is not None
            signs = optax.tree.random_like(key, params, jax.random.rademacher)
            diagonal = jax.tree.map(jnp.multiply, signs, hvp_fn(params, signs))
            return optax.tree.update_moment(diagonal, state.hessian, b2, 1)

        hessian = jax.lax.cond(state.count % update_interval == 0, estimate, lambda: state.hessian)
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        step = jax.tree.map(lambda m, h: jnp.clip(m / jnp.maximum(gamma * h, eps), -1.0, 1.0), mu, hessian)
        return step, SophiaState(jnp.asarray(optax.safe_increment(state.count)), mu, hessian)

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]: typed as the parent class


def build(problem, hparams):
    """Clipped step, decay, then the learning rate; the schedule multiplies the decay too."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    names = ("b1", "b2", "gamma", "eps", "update_interval")
    return optax.chain(
        scale_by_sophia(**{name: hparams[name] for name in names}),
        optax.add_decayed_weights(hparams["weight_decay"]),
        optax.scale_by_learning_rate(schedule),
    )
