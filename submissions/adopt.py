"""ADOPT: Adam that divides by the second moment of the steps before, and takes its momentum after the division.

Source: Taniguchi et al. (arXiv 2411.02853), the clipped version, where the k-th call after the first clips at k^(1/4).
`optax.contrib.adopt` has no decay; the one here is the decoupled one of the authors' code. The first call only sets the
second moment: nothing moves, by the decay neither.
"""

import jax.numpy as jnp
import optax
import optax.contrib

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(5e-5, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The paper's, but for the learning rate: 1e-3 there, adamw.py's here, for some hundred steps at small width.
DEFAULTS = {
    "learning_rate": 7e-3,
    "b1": 0.9,
    "b2": 0.9999,
    "eps": 1e-6,
    "weight_decay": 0.0,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
}


def build(problem, hparams):
    """The decay is multiplied by the scheduled learning rate and waits for the second call."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    return optax.chain(
        optax.contrib.scale_by_adopt(b1=hparams["b1"], b2=hparams["b2"], eps=hparams["eps"]),
        optax.add_decayed_weights(lambda count: hparams["weight_decay"] * jnp.minimum(count, 1)),
        optax.scale_by_learning_rate(schedule),
    )
