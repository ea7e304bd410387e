"""VRGD: coordinates whose gradients agree between parts of the batch take larger steps; on Adam or on SGD with momentum.

Source: Jiang et al., "Accelerating Large Batch Training via Gradient Signal to Noise Ratio (GSNR)" (arXiv 2309.13681):
VR-Adam with a moving average of the ratio, or VR-SGD, here with momentum. Its parts are devices' shares, ours are equal
parts of any batch. The gradient is the mean of the parts' gradients, so that the whole batch's is not computed. The
variance is taken around the mean, where the paper's difference of squares may round below zero. optax has neither.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import schedules, spec

EXTRA_ARGS = ("micro_grad_fn",)
SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(2e-3, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# Those of `adamw` with twice its learning rate; of the ratio, the paper's. "sgd" wants a learning rate some twenty times as
# large.
DEFAULTS = {
    "base": "adam",
    "k": 8,
    "gamma": 0.1,
    "b3": 0.9,
    "learning_rate": 1.4e-2,
    "b1": 0.82,
    "b2": 0.97,
    "eps": 1e-8,
    "momentum": 0.9,
    "weight_decay": 0.005,
    "warmup_fraction": 0.2,
    "horizon_fraction": 0.75,
}
FLOOR = 1e-30  # of a variance, far below any that float32 can tell from zero in squares of gradients


class GsnrState(NamedTuple):
    """The ratio's moving average, of the parameters' shapes, float32 at least."""

    count: jax.Array  # int32 scalar, updates so far
    ratio: optax.Updates


def scale_by_gsnr(k, gamma, b3) -> optax.GradientTransformationExtraArgs:
    """r g with g the mean of k parts' gradients; r averages g^2 / variance, over its mean per tensor, in [gamma, 1]."""

    def ratio(parts):
        parts = parts.astype(jnp.promote_types(parts.dtype, jnp.float32))
        mean = jnp.mean(parts, axis=0)
        r = mean**2 / (jnp.mean((parts - mean) ** 2, axis=0) + FLOOR)
        level = jnp.mean(r)
        return jnp.clip(r / jnp.where(level > 0, level, 1.0), gamma, 1.0)  # gamma where no coordinate has a signal

    def init(params):
        zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.promote_types(p.dtype, jnp.float32)), params)
        return GsnrState(jnp.zeros([], jnp.int32), zeros)

    def update(updates, state, params=None, *, micro_grad_fn, **extra):
        del updates, extra
        _, parts = micro_grad_fn(params, k)
        count = jnp.asarray(optax.safe_increment(state.count))
        average = optax.tree.update_moment(jax.tree.map(ratio, parts), state.ratio, b3, 1)
        corrected = optax.tree.bias_correction(average, b3, count)
        step = jax.tree.map(lambda r, g: (r * jnp.mean(g, axis=0)).astype(g.dtype), corrected, parts)
        return step, GsnrState(count, average)

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]: typed as the parent class


def build(problem, hparams):
    """The decay is decoupled and multiplied by the scheduled learning rate, for both bases."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    if hparams["base"] == "adam":
        b3, base = hparams["b3"], optax.scale_by_adam(b1=hparams["b1"], b2=hparams["b2"], eps=hparams["eps"])
    else:
        b3, base = 0.0, optax.trace(hparams["momentum"])
    return optax.chain(
        scale_by_gsnr(hparams["k"], hparams["gamma"], b3),
        base,
        optax.add_decayed_weights(hparams["weight_decay"]),
        optax.scale_by_learning_rate(schedule),
    )
