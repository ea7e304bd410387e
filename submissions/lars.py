"""LARS: momentum SGD with a learning rate per tensor, in proportion to |x| / (|g| + weight_decay |x|).

Source: You, Gitman and Ginsburg (arXiv 1708.03888), Algorithm 1. Not `optax.lars`, which divides by
|g + weight_decay x|: the two agree without decay only. Norms, biases and scalars have plain momentum SGD without decay,
as the skip list of TensorFlow's LARSOptimizer has in its ResNet runs; the algorithm does not speak of them.
"""

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-2, 3.0),
    "one_minus_momentum": spec.log_uniform(2e-2, 0.3),
    "trust_coefficient": spec.log_uniform(1e-3, 1e-1),
    "weight_decay": spec.log_uniform(1e-5, 1e-2),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The source's learning rates go into the tens, with a coefficient of 1e-3 and batches of thousands. Small batches do not
# bear that where there is no ratio: here the learning rate is near nesterov.py's, and the coefficient ten times as large.
DEFAULTS = {
    "learning_rate": 0.3,
    "trust_coefficient": 1e-2,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
}
PLAIN = ("norm", "bias", "scalar")


def scale_by_layer_rate(trust_coefficient, weight_decay) -> optax.GradientTransformation:
    """k |x| / (|g| + d |x|) (g + d x) per tensor; the factor is 1 where x, or both g and d x, are zero."""

    def scale(g, x):
        size = jnp.linalg.norm(x.ravel())
        divisor = jnp.linalg.norm(g.ravel()) + weight_decay * size
        known = (size > 0) & (divisor > 0)
        return jnp.where(known, trust_coefficient * size / jnp.where(known, divisor, 1), 1) * (g + weight_decay * x)

    def update(updates, params):
        return jax.tree.map(scale, updates, params)

    return optax.stateless(update)


def build(problem, hparams):
    """The learning rate acts before the momentum, as in the algorithm."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    adapted = jax.tree.map(lambda role: role.kind not in PLAIN, problem.roles)
    return optax.chain(
        optax.masked(scale_by_layer_rate(hparams["trust_coefficient"], hparams["weight_decay"]), adapted),
        optax.scale_by_learning_rate(schedule),
        optax.trace(hparams["momentum"]),
    )
