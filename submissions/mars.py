"""MARS: AdamW on a gradient corrected by its change since the step before.

Source: Yuan et al. (arXiv 2411.10438), MARS-AdamW in its approximate form; AGI-Arena/MARS. The exact form would take the
old gradient again on the new batch, at twice the cost. Norms, biases and scalars have plain AdamW with their own betas and
decay, as in the authors' code for 1-D tensors (which leaves convolutions to AdamW too: here they are corrected, as the
algorithm has no exceptions). Not in optax.
"""

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "one_minus_b1": spec.log_uniform(1e-2, 0.3),
    "one_minus_b2": spec.log_uniform(2e-3, 0.1),
    "gamma": spec.log_uniform(1e-3, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The authors', but for the learning rate: 3e-3 there, for some hundred steps at small width more.
DEFAULTS = {
    "learning_rate": 1.4e-2,
    "b1": 0.95,
    "b2": 0.99,
    "b1_1d": 0.9,
    "b2_1d": 0.95,
    "eps": 1e-8,
    "gamma": 0.025,
    "weight_decay": 0.01,
    "weight_decay_1d": 0.1,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
}
PLAIN = ("norm", "bias", "scalar")


def correct_gradients(gamma, b1) -> optax.GradientTransformation:
    """c = g + gamma b1 / (1 - b1) (g - previous g), shortened to length 1 per tensor where it is longer.

    The state is the previous gradient, of the parameters' shapes; the first has zero before it.
    """

    def init(params):
        return optax.tree.zeros_like(params)

    def correct(g, previous):
        c = g + gamma * b1 / (1 - b1) * (g - previous)
        return c / jnp.maximum(jnp.linalg.norm(c.ravel()), 1)

    def update(updates, state, params=None):
        del params
        return jax.tree.map(correct, updates, state), updates

    return optax.GradientTransformation(init, update)


def build(problem, hparams):
    """The decay is decoupled and multiplied by the scheduled learning rate."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )

    def adamw(b1, b2, weight_decay):
        return optax.adamw(schedule, b1=hparams[b1], b2=hparams[b2], eps=hparams["eps"], weight_decay=hparams[weight_decay])

    corrected = optax.chain(correct_gradients(hparams["gamma"], hparams["b1"]), adamw("b1", "b2", "weight_decay"))
    plain = adamw("b1_1d", "b2_1d", "weight_decay_1d")
    kinds = jax.tree.map(lambda role: "plain" if role.kind in PLAIN else "corrected", problem.roles)
    return optax.partition({"corrected": corrected, "plain": plain}, kinds)
