"""Schedule-Free learning around any optax optimizer without momentum: an average in the place of a schedule.

Three sequences: z, where the base optimizer steps; x, the weighted average of z, which is evaluated; and
y = b1 x + (1 - b1) z, where gradients are taken, which is what the parameters hold while training.
Source: Defazio et al., "The Road Less Scheduled" (arXiv 2405.15682), Algorithm 1; facebookresearch/schedule_free 1.4.1.

Not `optax.contrib.schedule_free`: it recovers x by dividing by b1, so that b1 = 0 (SGD with a uniform average) is NaN;
its scalars have the lowest type among the parameters, and in bfloat16 the sum of weights stops growing after 256 equal
ones; its own warm-up gives the average's weight the learning rate of one step later. Here x is kept, which costs one
more copy of the parameters.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import averaging, precision
from algoperf_lite.schedules import Schedule


class ScheduleFreeState(NamedTuple):
    """State of Schedule-Free learning; y is the parameters themselves."""

    base: optax.OptState
    count: jax.Array  # int32 scalar, updates so far
    largest: jax.Array  # scalar, the largest learning rate so far
    weight_sum: jax.Array  # scalar
    z: optax.Params  # of the parameters' shapes and types, float32 at least where the harness builds it
    x: optax.Params  # of the parameters' shapes, at least float32: a weight of 1/t does not move a bfloat16 average


def schedule_free(
    base: optax.GradientTransformation,
    learning_rate: Schedule,
    b1: jax.typing.ArrayLike,
    *,
    weight_lr_power: jax.typing.ArrayLike = 2.0,
    r: jax.typing.ArrayLike = 0.0,
    decay_at: Literal["x", "y"] = "y",
) -> optax.GradientTransformationExtraArgs:
    """z <- z + base(gradient at y); x <- (1 - c) x + c z; y <- b1 x + (1 - b1) z.

    c = w_t / (w_1 + ... + w_t) with w_t = t^r (largest learning rate so far)^weight_lr_power, and 0 while all of these are.

    Args:
      base: gives the step of z, learning rate included; it must have no momentum, which the interpolation stands for.
      learning_rate: the schedule that `base` multiplies by, read for the weights; counts from 0 in both.
      b1: in [0, 1]; 0 is the base optimizer with its iterates averaged, 1 is primal averaging (gradients at x).
      decay_at: the point that `base` gets as its parameters, which is where it decays.
    """
    base = precision.at_least_float32(base)

    def init(params):
        zero = jnp.zeros([])  # of the default float type, never the parameters'
        z = jax.tree.map(jnp.copy, params)
        x = jax.tree.map(lambda p: jnp.array(p, jnp.promote_types(jnp.result_type(p), jnp.float32)), params)
        return ScheduleFreeState(base.init(params), jnp.zeros([], jnp.int32), zero, jnp.copy(zero), z, x)

    def update(updates, state, params=None, **extra_args):
        if params is None:
            raise ValueError("schedule_free needs the parameters: call update(updates, state, params)")
        rate = jnp.asarray(learning_rate(state.count), state.largest.dtype)
        count = jnp.asarray(optax.safe_increment(state.count))
        largest = jnp.maximum(state.largest, rate)
        weight = count.astype(largest.dtype) ** r * largest**weight_lr_power
        weight_sum = state.weight_sum + weight
        c = weight / jnp.where(weight_sum > 0, weight_sum, 1.0)

        point = state.x if decay_at == "x" else params
        steps, base_state = base.update(updates, state.base, point, **extra_args)
        z = jax.tree.map(lambda z, u: (z + u).astype(z.dtype), state.z, steps)
        x = jax.tree.map(lambda x, z: ((1.0 - c) * x + c * z).astype(x.dtype), state.x, z)
        # b1 x + (1 - b1) z, in a form that is exactly y where the three are the same.
        moves = jax.tree.map(lambda x, z, y: (x + (1.0 - b1) * (z - x) - y).astype(y.dtype), x, z, params)
        return moves, ScheduleFreeState(base_state, count, largest, weight_sum, z, x)

    return optax.GradientTransformationExtraArgs(init, update)


def eval_params(opt_state: optax.OptState, params: optax.Params) -> optax.Params:
    """x, in the parameters' types, whatever wraps it."""
    return optax.tree.cast_like(averaging.state_of(ScheduleFreeState, opt_state).x, params)
