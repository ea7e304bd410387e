"""The learning-rate range test: its schedule, and a reader of its curve."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from algoperf_lite.schedules.phases import Number, Schedule, named, progress, steps

SPACINGS: dict[str, Callable[[jax.Array, jax.Array, jax.Array], jax.Array]] = {
    "geometric": lambda x, start, end: jnp.power(start, 1.0 - x) * jnp.power(end, x),
    "linear": lambda x, start, end: start + (end - start) * x,
}
"""How `lr_range` goes from `start` at x = 0 to `end` at x = 1."""


def lr_range(
    start: Number, end: Number, step_budget: int, *, horizon_fraction: Number, spacing: str = "geometric"
) -> Schedule:
    """Learning-rate range test: rises from `start` at the first update to `end` at t = H - 1 and stays there.

    Source: Smith (arXiv 1506.01186), section 3.3 (linear); geometric, 1e-7 to 10, in fastai. The test's steps and the reset
    after it are the submission's to pay.
    """
    climb = named("spacing", spacing, SPACINGS)

    def schedule(count):
        x = progress(jnp.asarray(count, float), 0.0, steps(horizon_fraction, step_budget) - 1.0)
        return climb(x, jnp.asarray(start, float), jnp.asarray(end, float))

    return schedule


class RangeReading(NamedTuple):
    """What `read_lr_range` reads; NaN where no point is left to read it from."""

    steepest: jax.Array  # scalar, learning rate at which the smoothed loss falls fastest
    tenth_of_minimum: jax.Array  # scalar, a tenth of the learning rate of the smallest smoothed loss
    stop: jax.Array  # int32 scalar, points before divergence
    smoothed: jax.Array  # [points]


def read_lr_range(
    learning_rates: jax.typing.ArrayLike,
    losses: jax.typing.ArrayLike,
    *,
    smoothing: Number = 0.98,
    divergence: Number = 4.0,
    skip_fraction: Number = 0.1,
) -> RangeReading:
    """Suggestions from the curve of a range test; both arguments [points], the loss taken before the update at that rate.

    The loss is smoothed by an exponential average with bias correction. The curve stops before the first point over
    `divergence` times the smallest so far (for a negative smallest, as far above it) or not finite. Suggestions ignore the
    first int(skip_fraction * points) points, where the average is still of a few losses. The slope is per log learning
    rate, the forward difference, given the rate at its left end. Source: Smith (arXiv 1506.01186) and fastai's `LRFinder`.
    """
    rates, losses = jnp.asarray(learning_rates, float), jnp.asarray(losses, float)
    index, decay = jnp.arange(losses.size), jnp.asarray(smoothing, float)

    def average(before, loss):
        after = decay * before + (1.0 - decay) * loss
        return after, after

    smoothed = jax.lax.scan(average, jnp.zeros((), losses.dtype), losses)[1] / (1.0 - decay ** (index + 1.0))
    best = jnp.append(jnp.inf, jax.lax.cummin(smoothed)[:-1])
    diverged = ~jnp.isfinite(smoothed) | (smoothed > best + (divergence - 1.0) * jnp.abs(best))
    stop = jnp.where(jnp.any(diverged), jnp.argmax(diverged), losses.size)

    read = (index >= steps(skip_fraction, losses.size)) & (index < stop)
    slope = jnp.diff(smoothed) / jnp.diff(jnp.log(rates))
    sloped = read[:-1] & read[1:]
    lowest = rates[jnp.argmin(jnp.where(read, smoothed, jnp.inf))]
    steepest = rates[jnp.argmin(jnp.where(sloped, slope, jnp.inf))]
    return RangeReading(
        steepest=jnp.where(jnp.any(sloped), steepest, jnp.nan),
        tenth_of_minimum=jnp.where(jnp.any(read), lowest / 10.0, jnp.nan),
        stop=stop.astype(jnp.int32),
        smoothed=smoothed,
    )
