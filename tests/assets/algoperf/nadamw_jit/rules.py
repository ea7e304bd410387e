"""A helper beside a submission: AlgoPerf's NadamW, and its schedule."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax


class Moments(NamedTuple):
    count: chex.Array
    first: optax.Updates
    second: optax.Updates


def schedule(peak, warmup_factor, step_hint):
    warmup = int(warmup_factor * step_hint)
    rise = optax.linear_schedule(0.0, peak, warmup)
    fall = optax.cosine_decay_schedule(peak, max(step_hint - warmup, 1))
    return optax.join_schedules([rise, fall], [warmup])


def nadamw(rate, b1, b2, eps, weight_decay):
    def init(params):
        return Moments(jnp.zeros([], jnp.int32), jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params))

    def update(grads, state, params=None):
        count = state.count + 1
        first = jax.tree.map(lambda g, m: (1 - b1) * g + b1 * m, grads, state.first)
        second = jax.tree.map(lambda g, v: (1 - b2) * g**2 + b2 * v, grads, state.second)
        ahead = jax.tree.map(lambda g, m: ((1 - b1) * g + b1 * m) / (1 - b1**count), grads, first)
        root = jax.tree.map(lambda v: jnp.sqrt(v / (1 - b2**count)) + eps, second)
        return jax.tree.map(jnp.divide, ahead, root), Moments(count, first, second)

    return optax.chain(
        optax.GradientTransformation(init, update),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_schedule(lambda count: -rate(count)),
    )
