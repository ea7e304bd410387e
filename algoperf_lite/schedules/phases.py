"""What the schedules are made of: step counts from fractions, and how far a phase has come."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import jax
import jax.numpy as jnp

from algoperf_lite import errors

Schedule = Callable[[jax.typing.ArrayLike], jax.Array]
Number = jax.typing.ArrayLike
T = TypeVar("T")


def steps(fraction: Number, whole: Number) -> jax.Array:
    """int(fraction * whole), as a float."""
    # A product such as 0.05 * 600 may round to just under the integer meant: the slack is far below one step.
    return jnp.floor(jnp.asarray(fraction, float) * whole + 1e-3)


def times(
    count: Number, step_budget: int, warmup_fraction: Number, horizon_fraction: Number
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(t, W, H): the count, the warm-up's steps and all steps, as floats."""
    horizon = steps(horizon_fraction, step_budget)
    return jnp.asarray(count, float), steps(warmup_fraction, horizon), horizon


def rise(t: jax.Array, warmup: jax.Array) -> jax.Array:
    """The warm-up's factor: 1 / W at the first update, 1 from t = W - 1 on."""
    # A compiled division may be a multiplication by the reciprocal, and 49 * (1 / 49) is under 1: the ends are set apart.
    return jnp.where(t + 1.0 >= warmup, 1.0, (t + 1.0) / jnp.maximum(warmup, 1.0))


def progress(t: jax.Array, start: jax.Array | float, end: jax.Array) -> jax.Array:
    """(t - start) / (end - start) clipped to 0..1, exactly 1 from `end` on, also where `start` is no earlier."""
    return jnp.where(t >= end, 1.0, jnp.clip((t - start) / jnp.maximum(end - start, 1.0), 0.0, 1.0))


def above(floor: jax.Array, share: jax.Array) -> jax.Array:
    """floor + (1 - floor) * share, exact at both ends."""
    return share + floor * (1.0 - share)


def half_cosine(u: jax.Array) -> jax.Array:
    """From 1 at u = 0 to 0 at u = 1."""
    return 0.5 * (1.0 + jnp.cos(jnp.pi * u))


def named(kind: str, name: str, known: Mapping[str, T]) -> T:
    """known[name], or a UserError that names the accepted ones."""
    if name not in known:
        raise errors.unknown(kind, name, known)
    return known[name]
