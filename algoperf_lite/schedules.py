"""Learning-rate schedules as closed forms of the step, traceable in every number.

optax's constructors branch in Python on their numbers, so one compilation could not serve many settings; these do not.
A schedule is a function of optax's step count (0 at the first update) and returns a scalar of the default float type (float32; float64 where x64 is on).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Schedule = Callable[[jax.typing.ArrayLike], jax.Array]


def warmup_cosine(
    peak: jax.typing.ArrayLike,
    step_budget: int,
    *,
    warmup_fraction: jax.typing.ArrayLike,
    horizon_fraction: jax.typing.ArrayLike,
) -> Schedule:
    """Linear from 0 to `peak`, then half a cosine to 0; AlgoPerf's baseline schedule.

    H = int(horizon_fraction * step_budget) steps in all, W = int(warmup_fraction * H) of them warm-up: peak * t / W for
    t < W, then peak * (1 + cos(pi * (t - W) / (H - W))) / 2, and 0 from H on. The first update has learning rate 0 unless
    W = 0. Source: mlcommons/algorithmic-efficiency, NadamW baselines (`optax.join_schedules` of linear and cosine).
    """

    def schedule(count):
        t = jnp.asarray(count, float)
        # A product such as 0.05 * 600 may round to just under the integer meant: the slack is far below one step.
        horizon = jnp.floor(jnp.asarray(horizon_fraction, float) * step_budget + 1e-3)
        warmup = jnp.floor(jnp.asarray(warmup_fraction, float) * horizon + 1e-3)
        rising = t / jnp.maximum(warmup, 1.0)
        progress = jnp.clip((t - warmup) / jnp.maximum(horizon - warmup, 1.0), 0.0, 1.0)
        falling = 0.5 * (1.0 + jnp.cos(jnp.pi * progress))
        return jnp.asarray(peak, float) * jnp.where(t < warmup, rising, falling)

    return schedule


def warmup_constant(peak: jax.typing.ArrayLike, step_budget: int, *, warmup_fraction: jax.typing.ArrayLike) -> Schedule:
    """peak * min((t + 1) / W, 1) with W = int(warmup_fraction * step_budget); the first update has peak / W.

    Source: facebookresearch/schedule_free, `AdamWScheduleFree` (warmup_steps).
    """

    def schedule(count):
        t = jnp.asarray(count, float)
        warmup = jnp.maximum(jnp.floor(jnp.asarray(warmup_fraction, float) * step_budget + 1e-3), 1.0)
        return jnp.asarray(peak, float) * jnp.minimum((t + 1.0) / warmup, 1.0)

    return schedule
