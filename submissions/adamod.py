"""AdaMod: Adam whose step sizes are bounded, each by an average of its own past.

Source: Ding et al., "An Adaptive and Momental Bound Method for Stochastic Learning" (arXiv 1910.12249), with the decoupled
decay of the authors' code, lancopku/AdaMod. Not in optax. The average starts at zero, so that the first steps are short:
a warm-up of about 1 / (1 - b3) steps of its own, and the schedule's is 0 by default.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(5e-4, 0.1),
    "one_minus_b3": spec.log_uniform(5e-4, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The authors', but for the learning rate: 1e-3 there. Here it is three times adamw.py's, as with this b3 the bound holds
# the step back for about a thousand steps.
DEFAULTS = {
    "learning_rate": 2e-2,
    "b1": 0.9,
    "b2": 0.999,
    "b3": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "warmup_fraction": 0.0,
    "horizon_fraction": 0.75,
}


class AdaModState(NamedTuple):
    """Moments of the gradient and the average of the step sizes, each of the parameters' shapes."""

    count: jax.Array  # int32 scalar
    mu: optax.Updates
    nu: optax.Updates
    bound: optax.Updates


def adamod(schedule, b1, b2, b3, eps) -> optax.GradientTransformation:
    """-min(s, average of s over b3) m with s = a_t sqrt(1 - b2^t) / (1 - b1^t) / (sqrt(v) + eps)."""

    def init(params):
        zeros = (optax.tree.zeros_like(params) for _ in range(3))
        return AdaModState(jnp.zeros([], jnp.int32), *zeros)

    def update(updates, state, params=None):
        del params
        t = jnp.asarray(optax.safe_increment(state.count))
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(updates, state.nu, b2, 2)
        rate = schedule(state.count) * jnp.sqrt(1 - b2**t) / (1 - b1**t)
        size = jax.tree.map(lambda v: rate / (jnp.sqrt(v) + eps), nu)
        bound = optax.tree.update_moment(size, state.bound, b3, 1)
        step = jax.tree.map(lambda s, e, m: -jnp.minimum(s, e) * m, size, bound, mu)
        return step, AdaModState(t, mu, nu, bound)

    return optax.GradientTransformation(init, update)


def build(problem, hparams):
    """The decay is multiplied by the scheduled learning rate, not by the bound."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    return optax.chain(
        adamod(schedule, hparams["b1"], hparams["b2"], hparams["b3"], hparams["eps"]),
        optax.add_decayed_weights(lambda count: -hparams["weight_decay"] * schedule(count)),
    )
