"""Muon: momentum orthogonalised by Newton-Schulz steps for the hidden kernels, AdamW for all else, one learning rate.

Source: Jordan et al., "Muon" (kellerjordan.github.io/posts/muon); Liu et al., "Muon is Scalable for LLM Training" (arXiv
2502.16982), section 2.2: the update's root mean square is that of AdamW, so that both sides share learning rate and decay.
Not `optax.contrib.muon` as it comes: by its default every parameter with two axes is orthogonalised, embeddings and heads
too, and no kernel of a convolution or of attention; its momentum is corrected for bias in two different ways, which turns
the first steps; and its Adam side gets the Nesterov term of the Muon side.
"""

import math

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "one_minus_momentum": spec.log_uniform(1e-2, 0.3),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(2e-3, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# Momentum, betas and decay are Moonlight's; the learning rate is between those of `adamw` and `nadamw`, as its scale asks.
DEFAULTS = {
    "learning_rate": 1e-2,
    "momentum": 0.95,
    "b1": 0.9,
    "b2": 0.95,
    "eps": 1e-8,
    "weight_decay": 0.1,
    "consistent_rms": 0.2,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
}


def _dimension_numbers(role, leaf):
    axes = role.input_axes(leaf.shape)
    if not axes:
        return optax.MaskedNode()
    return optax.contrib.MuonDimensionNumbers(tuple(range(axes)), tuple(range(axes, leaf.ndim)))


def build(problem, hparams):
    """Kernels [inputs, outputs] by their roles; the update is scaled by consistent_rms sqrt(max(inputs, outputs))."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    roles, shapes = problem.roles, problem.shapes
    labels = jax.tree.map(lambda role, leaf: "muon" if role.input_axes(leaf.shape) else "adam", roles, shapes)
    muon = optax.chain(
        optax.trace(hparams["momentum"], nesterov=True),
        optax.contrib.scale_by_muon(  # of no momentum of its own: it only orthogonalises
            beta=0.0,
            nesterov=False,
            eps=hparams["eps"],
            weight_dimension_numbers=jax.tree.map(_dimension_numbers, roles, shapes),
        ),
    )
    adam = optax.scale_by_adam(b1=hparams["b1"], b2=hparams["b2"], eps=hparams["eps"])

    def match_rms(update, label, role):
        factor = hparams["consistent_rms"] * math.sqrt(max(role.fan_in, role.fan_out)) if label == "muon" else 1.0
        return update * jnp.asarray(factor, update.dtype)

    return optax.chain(
        optax.partition({"muon": muon, "adam": adam}, labels),
        optax.stateless(lambda updates, params: jax.tree.map(match_rms, updates, labels, roles)),
        optax.add_decayed_weights(hparams["weight_decay"]),
        optax.scale_by_learning_rate(schedule),
    )
