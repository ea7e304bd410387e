"""Averages of the iterates as evaluation parameters: wrappers for any optax transformation, training untouched."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax

State = TypeVar("State")


class AveragedState(NamedTuple):
    """State of a transformation whose iterates are averaged beside it."""

    inner: optax.OptState
    count: jax.Array  # int32 scalar, updates so far
    average: optax.Params  # of the parameters' shapes, float32 at least


def polynomial_decay(
    inner: optax.GradientTransformation, alpha: jax.typing.ArrayLike = 8.0
) -> optax.GradientTransformationExtraArgs:
    """Polynomial-decay averaging: avg_t = (1 - w) avg_{t-1} + w x_t with w = (1 + alpha) / (t + alpha), t from 1.

    alpha = 0 is the uniform mean. `eval_params` reads the average with `averaged_params`. Source: Ivgi et al., "DoG is
    SGD's Best Friend" (arXiv 2302.12022), section 4.1; after Shamir and Zhang (arXiv 1212.1824).
    """
    return _averaged(inner, lambda t: (1.0 + alpha) / (t + alpha))


def ema(
    inner: optax.GradientTransformation, decay: jax.typing.ArrayLike, debias: bool = True
) -> optax.GradientTransformationExtraArgs:
    """Exponential moving average of the parameters: avg_t = decay avg_{t-1} + (1 - decay) x_t, read by `averaged_params`.

    Not `optax.ema`, which averages updates. `debias`: without the weight decay^t of the initial parameters, as Adam's
    moments are: avg_t / (1 - decay^t) from avg_0 = 0, here as the weight (1 - decay) / (1 - decay^t) of x_t. Otherwise
    avg_0 = x_0. Source: Kingma and Ba (arXiv 1412.6980), section 7.2.
    """
    weight = 1.0 - jnp.asarray(decay, float)
    if not debias:
        return _averaged(inner, lambda t: weight)
    # The first weight is one, whatever the rounding: nothing of the initial parameters is to be left.
    return _averaged(inner, lambda t: jnp.where(t == 1, 1.0, weight / (1.0 - decay**t)))


def _averaged(
    inner: optax.GradientTransformation, weight: Callable[[jax.Array], jax.typing.ArrayLike]
) -> optax.GradientTransformationExtraArgs:
    """avg_t = avg_{t-1} + w_t (x_t - avg_{t-1}), from the initial parameters; `weight` of t, from 1."""
    inner = optax.with_extra_args_support(inner)

    def init(params):
        return AveragedState(inner.init(params), jnp.zeros([], jnp.int32), jax.tree.map(_copy, params))

    def update(updates, state, params=None, **extra_args):
        updates, inner_state = inner.update(updates, state.inner, params, **extra_args)
        count = jnp.asarray(optax.safe_increment(state.count))
        w = weight(count.astype(float))
        average = jax.tree.map(
            lambda avg, new: avg + (w * (new - avg)).astype(avg.dtype), state.average, _applied(params, updates)
        )
        return updates, AveragedState(inner_state, count, average)

    return optax.GradientTransformationExtraArgs(init, update)


def averaged_params(opt_state: optax.OptState, params: optax.Params) -> optax.Params:
    """The average, as `eval_params`, whatever wraps it; `params` are the trained parameters, whose types it has."""
    return optax.tree.cast_like(state_of(AveragedState, opt_state).average, params)


class LawaState(NamedTuple):
    """State of a transformation whose latest checkpoints are kept beside it."""

    inner: optax.OptState
    count: jax.Array  # int32 scalar, updates so far
    saved: jax.Array  # int32 scalar, checkpoints so far
    checkpoints: optax.Params  # [k, ...] for every parameter; the latest k in a ring


def lawa(
    inner: optax.GradientTransformation,
    k: int,
    step_budget: int,
    *,
    every_fraction: jax.typing.ArrayLike = 0.002,
    start_fraction: jax.typing.ArrayLike = 0.02,
) -> optax.GradientTransformationExtraArgs:
    """Latest weight averaging: the mean of the last `k` checkpoints, read by `lawa_params`.

    A checkpoint is taken at every step from ceil(start_fraction * step_budget) on that is a multiple of
    ceil(every_fraction * step_budget), both at least 1. Source: Kaddour (arXiv 2209.14981); steps and fractions as in
    AlgoPerf's "LAWA queue". `k` copies of the parameters are kept.

    Raises:
      ValueError: k is no positive whole number.
    """
    if not isinstance(k, int) or k < 1:
        hint = "; a float hyperparameter is traced: write it as an int in DEFAULTS" if isinstance(k, jax.Array) else ""
        raise ValueError(f"lawa: k must be a whole number of checkpoints >= 1, got {k!r}{hint}")
    inner = optax.with_extra_args_support(inner)

    def steps(fraction):
        # A product such as 0.02 * 600 may round to just over the integer meant: the slack is far below one step.
        return jnp.maximum(jnp.ceil(jnp.asarray(fraction, float) * step_budget - 1e-3), 1.0).astype(jnp.int32)

    def init(params):
        checkpoints = jax.tree.map(lambda p: jnp.zeros((k, *p.shape), p.dtype), params)
        return LawaState(inner.init(params), jnp.zeros([], jnp.int32), jnp.zeros([], jnp.int32), checkpoints)

    def update(updates, state, params=None, **extra_args):
        updates, inner_state = inner.update(updates, state.inner, params, **extra_args)
        count = jnp.asarray(optax.safe_increment(state.count))
        due = (count >= steps(start_fraction)) & (count % steps(every_fraction) == 0)
        slot = state.saved % k  # of the oldest; writing one slot is cheap, a branch would copy all of them
        checkpoints = jax.tree.map(
            lambda kept, new: kept.at[slot].set(jnp.where(due, new, kept[slot])),
            state.checkpoints,
            _applied(params, updates),
        )
        return updates, LawaState(inner_state, count, state.saved + due, checkpoints)

    return optax.GradientTransformationExtraArgs(init, update)


def lawa_params(opt_state: optax.OptState, params: optax.Params) -> optax.Params:
    """The checkpoints' mean, as `eval_params`, whatever wraps it; until there are k of them, the trained parameters."""
    state = state_of(LawaState, opt_state)

    def mean(checkpoints, p):
        average = jnp.mean(checkpoints.astype(jnp.promote_types(p.dtype, jnp.float32)), axis=0)
        return jnp.where(state.saved >= len(checkpoints), average.astype(p.dtype), p)

    return jax.tree.map(mean, state.checkpoints, params)


def state_of(kind: type[State], opt_state: optax.OptState) -> State:
    """The one state of a kind in an optimizer's state, be it the whole of it or a part of a chain's.

    Raises:
      ValueError: there is none, or there are several.
    """
    parts = jax.tree.leaves(opt_state, is_leaf=lambda part: isinstance(part, kind))
    found = [part for part in parts if isinstance(part, kind)]
    if len(found) != 1:
        raise ValueError(
            f"the optimizer's state holds {len(found)} of {kind.__name__}, expected is one "
            "(averaged_params reads an AveragedState, lawa_params a LawaState)"
        )
    return found[0]


def _copy(p: jax.Array) -> jax.Array:
    """A copy in float32 at least, where small weights do not round away; donation must not meet one buffer twice."""
    return jnp.array(p, jnp.promote_types(p.dtype, jnp.float32), copy=True)


def _applied(params: optax.Params | None, updates: optax.Updates) -> optax.Params:
    """The parameters after the update."""
    if params is None:
        raise ValueError("averaging needs the parameters: call update(updates, state, params)")
    return optax.apply_updates(params, updates)
