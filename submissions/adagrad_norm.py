"""AdaGrad-Norm: SGD whose one step size is divided by the root of the sum of all squared gradient norms.

Source: Ward, Wu and Bottou, "AdaGrad stepsizes: sharp convergence over nonconvex landscapes" (arXiv 1806.01811),
Algorithm 1. Not in optax. It is DoG with the distance held at `learning_rate`, and needs that distance guessed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-2, 10.0),
    "initial_accumulator_value": spec.log_uniform(1e-8, 1.0),
    "weight_decay": spec.log_uniform(1e-7, 1e-3),
}
# The paper varies b_0, the root of initial_accumulator_value, over many decades at eta = 1. The learning rate is a guess of
# the distance to go: on digits_vit (an author seed) 3 ends above 1.
DEFAULTS = {"learning_rate": 3.0, "initial_accumulator_value": 1e-8, "weight_decay": 0.0}


class AdagradNormState(NamedTuple):
    """The sum of squared gradient norms, b^2 in the paper."""

    total: jax.Array  # scalar


def scale_by_adagrad_norm(initial_accumulator_value) -> optax.GradientTransformation:
    """g / b with b^2 <- b^2 + ||g||^2, the norm over all parameters; 0 where both are 0."""

    def init(params):
        del params
        return AdagradNormState(jnp.asarray(initial_accumulator_value, float))

    def update(updates, state, params=None):
        del params
        total = state.total + optax.tree.norm(updates, squared=True)
        scale = jax.lax.rsqrt(jnp.where(total > 0, total, 1.0))
        return optax.tree.scale(scale, updates), AdagradNormState(total)

    return optax.GradientTransformation(init, update)


def build(problem, hparams):
    """The decay is coupled and enters the norm."""
    del problem  # nothing to know of it
    return optax.chain(
        optax.add_decayed_weights(hparams["weight_decay"]),
        scale_by_adagrad_norm(hparams["initial_accumulator_value"]),
        optax.scale_by_learning_rate(hparams["learning_rate"]),
    )
