"""Averages of the iterates as evaluation parameters: a wrapper for any optax transformation, training untouched."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


class AveragedState(NamedTuple):
    """State of a transformation whose iterates are averaged beside it."""

    inner: optax.OptState
    count: jax.Array  # int32 scalar, updates so far
    average: optax.Params  # of the parameters' shapes


def polynomial_decay(
    inner: optax.GradientTransformation, alpha: jax.typing.ArrayLike = 8.0
) -> optax.GradientTransformationExtraArgs:
    """Polynomial-decay averaging: avg_t = (1 - w) avg_{t-1} + w x_t with w = (1 + alpha) / (t + alpha), t from 1.

    alpha = 0 is the uniform mean. `eval_params` reads the average with `averaged_params`. Source: Ivgi et al., "DoG is
    SGD's Best Friend" (arXiv 2302.12022), section 4.1; after Shamir and Zhang (arXiv 1212.1824).
    """
    inner = optax.with_extra_args_support(inner)

    def init(params):
        average = jax.tree.map(jnp.copy, params)  # a copy: donating parameters and state must not meet one buffer twice
        return AveragedState(inner.init(params), jnp.zeros([], jnp.int32), average)

    def update(updates, state, params=None, **extra_args):
        if params is None:
            raise ValueError("averaging needs the parameters: call update(updates, state, params)")
        updates, inner_state = inner.update(updates, state.inner, params, **extra_args)
        count = jnp.asarray(optax.safe_increment(state.count))
        weight = (1.0 + alpha) / (count.astype(jnp.float32) + alpha)
        average = jax.tree.map(
            lambda avg, p, u: avg + (weight * (p + u - avg)).astype(avg.dtype), state.average, params, updates
        )
        return updates, AveragedState(inner_state, count, average)

    return optax.GradientTransformationExtraArgs(init, update)


def averaged_params(opt_state: AveragedState, params: optax.Params) -> optax.Params:
    """The average as `eval_params`; `params` is the argument every `eval_params` gets."""
    del params
    return opt_state.average
