"""AdaBound: Adam whose step sizes are clipped to bounds that close in on a final learning rate of SGD.

Source: Luo et al., "Adaptive Gradient Methods with Dynamic Bound of Learning Rate" (arXiv 1902.09843), Algorithm 2, in the
form of the authors' package adabound 0.0.5: Adam's two bias corrections, bounds that a schedule scales along with the
learning rate, coupled decay. Not in optax.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "final_learning_rate": spec.log_uniform(1e-2, 1.0),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(5e-4, 0.1),
    "gamma": spec.log_uniform(3e-4, 3e-2),
    "weight_decay": spec.log_uniform(1e-7, 1e-3),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The authors', but for the learning rate: 1e-3 there, adamw.py's here, for some hundred steps at small width.
DEFAULTS = {
    "learning_rate": 7e-3,
    "final_learning_rate": 0.1,
    "b1": 0.9,
    "b2": 0.999,
    "eps": 1e-8,
    "gamma": 1e-3,
    "weight_decay": 0.0,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
}


class AdaBoundState(NamedTuple):
    """Moments of the gradient, each of the parameters' shapes."""

    count: jax.Array  # int32 scalar
    mu: optax.Updates
    nu: optax.Updates


def adabound(learning_rate, final_learning_rate, b1, b2, eps, gamma, schedule) -> optax.GradientTransformation:
    """-clip(a sqrt(1 - b2^t) / (1 - b1^t) / (sqrt(v) + eps), lower, upper) m; `schedule` (peak 1) scales a and the bounds.

    lower = f (1 - 1 / (gamma t + 1)) and upper = f (1 + 1 / (gamma t)), f the final learning rate.
    """

    def init(params):
        return AdaBoundState(jnp.zeros([], jnp.int32), optax.tree.zeros_like(params), optax.tree.zeros_like(params))

    def update(updates, state, params=None):
        del params
        t = jnp.asarray(optax.safe_increment(state.count))
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(updates, state.nu, b2, 2)
        scale = schedule(state.count)
        rate = scale * learning_rate * jnp.sqrt(1 - b2**t) / (1 - b1**t)
        lower = scale * final_learning_rate * (1 - 1 / (gamma * t + 1))
        upper = scale * final_learning_rate * (1 + 1 / (gamma * t))
        step = jax.tree.map(lambda m, v: -jnp.clip(rate / (jnp.sqrt(v) + eps), lower, upper) * m, mu, nu)
        return step, AdaBoundState(t, mu, nu)

    return optax.GradientTransformation(init, update)


def build(problem, hparams):
    """The decay is added to the gradient, so it enters both moments."""
    names = ("learning_rate", "final_learning_rate", "b1", "b2", "eps", "gamma")
    schedule = schedules.warmup_cosine(
        1.0,
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    return optax.chain(
        optax.add_decayed_weights(hparams["weight_decay"]),
        adabound(**{name: hparams[name] for name in names}, schedule=schedule),
    )
