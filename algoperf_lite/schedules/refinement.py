"""Schedules refined from the gradient norms of an earlier run."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import scipy.ndimage

from algoperf_lite import errors
from algoperf_lite.schedules.phases import Number, Schedule, named, steps

REFINEMENTS = {"l2": 2.0, "l1": 1.0}
"""Weights of `refined_multipliers` are norms to minus this power: L2 norms for SGD, L1 norms for Adam."""


def refined_multipliers(
    gradient_norms: Sequence[float] | np.ndarray, *, norm: str = "l2", smoothing: float = 0.1
) -> np.ndarray:
    """Schedule refined from the gradient norms of an earlier run, [steps] -> [steps], largest 1, last 0. On the host.

    The norms pass a median filter of width 2 * int(smoothing * steps / 2) + 1, reflected at the end, the first value
    repeated at the start. With weights w = norm^-2 ("l2") or norm^-1 ("l1"), step t gets w_t * sum_{p > t} w_p. Constant
    norms give linear decay; large early norms a warm-up. Source: Defazio et al., "When, Why and How Much?" (arXiv
    2310.07831); facebookresearch/adaptive_scheduling.

    Raises:
      UserError: for an unknown norm, and for norms that are not a vector of two or more positive finite numbers.
    """
    exponent = named("norm", norm, REFINEMENTS)
    norms = np.asarray(gradient_norms, np.float64)
    if norms.ndim != 1 or norms.size < 2 or not np.all((norms > 0) & np.isfinite(norms)):
        raise errors.UserError(
            f"gradient_norms of shape {norms.shape}: accepted: a vector of 2 or more positive finite numbers"
        )
    width = 2 * (int(smoothing * norms.size) // 2) + 1
    padded = np.pad(norms, (0, 2 * width), mode="reflect")
    smooth = scipy.ndimage.median_filter(padded, size=width, mode="nearest")[: norms.size]
    weights = (smooth / smooth.min()) ** -exponent  # at most 1, whatever the norms' unit
    later = np.append(np.cumsum(weights[:0:-1])[::-1], 0.0)
    return weights * later / np.max(weights * later)


def refined(
    peak: Number,
    step_budget: int,
    gradient_norms: Sequence[float] | np.ndarray,
    *,
    horizon_fraction: Number,
    norm: str = "l2",
    smoothing: float = 0.1,
) -> Schedule:
    """peak * refined_multipliers(gradient_norms), stretched linearly to H updates; the last, t = H - 1, is the source's 0.

    The multipliers become a constant of the program: thin out runs of over some thousand steps (P3 allows 64 KiB).
    """
    table = refined_multipliers(gradient_norms, norm=norm, smoothing=smoothing)

    def schedule(count):
        stride = (table.size - 1) / jnp.maximum(steps(horizon_fraction, step_budget) - 1.0, 1.0)  # 1 where lengths agree
        place = jnp.asarray(count, float) * stride
        return jnp.asarray(peak, float) * jnp.interp(place, jnp.arange(table.size, dtype=float), jnp.asarray(table, float))

    return schedule
