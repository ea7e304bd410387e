"""Schedules of the step and the budget alone; the package says what they have in common."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from algoperf_lite.schedules.phases import Number, Schedule, above, half_cosine, named, progress, rise, steps, times


def warmup_cosine(peak: Number, step_budget: int, *, warmup_fraction: Number, horizon_fraction: Number) -> Schedule:
    """Linear from 0 to `peak`, then half a cosine to 0; AlgoPerf's baseline schedule.

    H = int(horizon_fraction * step_budget) steps in all, W = int(warmup_fraction * H) of them warm-up: peak * t / W for
    t < W, then peak * (1 + cos(pi * (t - W) / (H - W))) / 2, and 0 from H on. The first update has learning rate 0 unless
    W = 0. Source: mlcommons/algorithmic-efficiency, NadamW baselines (`optax.join_schedules` of linear and cosine).
    """

    def schedule(count):
        t = jnp.asarray(count, float)
        horizon = steps(horizon_fraction, step_budget)
        warmup = steps(warmup_fraction, horizon)
        rising = t / jnp.maximum(warmup, 1.0)
        return jnp.asarray(peak, float) * jnp.where(t < warmup, rising, half_cosine(progress(t, warmup, horizon)))

    return schedule


def warmup_constant(peak: Number, step_budget: int, *, warmup_fraction: Number) -> Schedule:
    """peak * min((t + 1) / W, 1) with W = int(warmup_fraction * step_budget); the first update has peak / W.

    Source: facebookresearch/schedule_free, `AdamWScheduleFree` (warmup_steps).
    """

    def schedule(count):
        t = jnp.asarray(count, float)
        warmup = jnp.maximum(steps(warmup_fraction, step_budget), 1.0)
        return jnp.asarray(peak, float) * jnp.minimum((t + 1.0) / warmup, 1.0)

    return schedule


def cosine(
    peak: Number, step_budget: int, *, warmup_fraction: Number, horizon_fraction: Number, floor: Number = 0.0
) -> Schedule:
    """Warm-up, then floor + (1 - floor) * (1 + cos(pi * u)) / 2 of the peak; floor = 0.1 is common, 0 often better.

    Source: Loshchilov and Hutter, "SGDR" (arXiv 1608.03983), equation 5, one period.
    """
    return _decay(peak, step_budget, warmup_fraction, horizon_fraction, floor, half_cosine)


def linear(
    peak: Number, step_budget: int, *, warmup_fraction: Number, horizon_fraction: Number, floor: Number = 0.0
) -> Schedule:
    """Warm-up, then floor + (1 - floor) * (1 - u) of the peak: to exactly 0 at t = H by default (D2Z).

    Source: Bergsma et al., "Straight to Zero" (arXiv 2502.15938); worst-case optimal in Defazio et al. (arXiv 2310.07831).
    """
    return _decay(peak, step_budget, warmup_fraction, horizon_fraction, floor, lambda u: 1.0 - u)


def rex(
    peak: Number, step_budget: int, *, warmup_fraction: Number, horizon_fraction: Number, floor: Number = 0.0
) -> Schedule:
    """Warm-up, then (1 - u) / (1/2 + (1 - u) / 2), per step: above linear throughout, 2/3 half-way.

    Source: Chen et al., "REX: Revisiting Budgeted Training with an Improved Schedule" (arXiv 2107.04197).
    """
    return _decay(peak, step_budget, warmup_fraction, horizon_fraction, floor, lambda u: (1.0 - u) / (1.0 - 0.5 * u))


def uba(
    peak: Number,
    step_budget: int,
    *,
    warmup_fraction: Number,
    horizon_fraction: Number,
    phi: Number = 1.0,
    floor: Number = 0.0,
) -> Schedule:
    """Warm-up, then 2 (1 + C) / (2 phi + (2 - phi) (1 + C)) with C = cos(pi * u), phi >= 0.

    phi = 0 is constant, 1 is REX in the cosine's time, 2 is the cosine; larger for ill-conditioned problems. Source: Tang
    et al., "Stepsize anything" (arXiv 2505.24452), which samples at u = (t + 1/2) / H, half a step later than here.
    """

    def shape(u):
        high = 2.0 * half_cosine(u)  # 1 + C
        below = 2.0 * high + jnp.asarray(phi, float) * (2.0 - high)
        # phi = 0 leaves 0 / 0 at u = 1; it is 1 everywhere else.
        return jnp.where(below > 0.0, 2.0 * high / jnp.where(below > 0.0, below, 1.0), 1.0)

    return _decay(peak, step_budget, warmup_fraction, horizon_fraction, floor, shape)


COOLDOWNS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "linear": lambda x, floor: above(floor, 1.0 - x),
    "1-sqrt": lambda x, floor: above(floor, 1.0 - jnp.sqrt(x)),
    "square": lambda x, floor: above(floor, 1.0 - x**2),
    "cosine": lambda x, floor: above(floor, half_cosine(x)),
    "mirror_cosine": lambda x, floor: above(floor, 2.0 * (1.0 - x) - half_cosine(x)),
    "exponential": lambda x, floor: jnp.power(floor, x),
    "inverse": lambda x, floor: jnp.where(x > 0.0, floor, 1.0) / jnp.where(x > 0.0, x + floor * (1.0 - x), 1.0),
}
"""Cooldown shapes: from 1 at x = 0 to `floor` at x = 1. "exponential" and "inverse" drop at once if the floor is 0."""


def wsd(
    peak: Number,
    step_budget: int,
    *,
    warmup_fraction: Number,
    horizon_fraction: Number,
    cooldown_fraction: Number = 0.2,
    shape: str = "1-sqrt",
    floor: Number = 0.0,
) -> Schedule:
    """Warm-up, stable, decay: the peak until the last n = int(cooldown_fraction * H) steps, then COOLDOWNS[shape].

    x = (t - (H - n)) / n. Where warm-up and cooldown overlap, both factors apply. Source: Hu et al., "MiniCPM"
    (arXiv 2404.06395); the shapes and 20 % of Hagele et al. (arXiv 2405.18392), epfml/schedules-and-scaling.
    """
    cooldown = named("cooldown shape", shape, COOLDOWNS)

    def schedule(count):
        t, warmup, horizon = times(count, step_budget, warmup_fraction, horizon_fraction)
        x = progress(t, horizon - steps(cooldown_fraction, horizon), horizon)
        return jnp.asarray(peak, float) * rise(t, warmup) * cooldown(x, jnp.asarray(floor, float))

    return schedule


def wsd_s(
    peak: Number,
    step_budget: int,
    *,
    warmup_fraction: Number,
    horizon_fraction: Number,
    end_fractions: Sequence[Number] | jax.Array = (0.25, 0.5, 1.0),
    cooldown_fraction: Number = 0.1,
    shape: str = "inverse",
    floor: Number = 0.1,
) -> Schedule:
    """WSD-S: stages that end, cooled down, at int(end_fractions * H); the next starts at the peak from the decayed weights.

    `end_fractions` increase; the default doubles. The last int(cooldown_fraction * stage's steps) steps of a stage are
    COOLDOWNS[shape]; "inverse" is the source's 1 / ((1 - x) / peak + x / (floor * peak)). Each end is the first update of
    the next stage, and the floor stays after the last. Source: Wen et al. (arXiv 2410.05192); cooldown per stage as in
    allenai/OLMo-core, `WSDS`.
    """
    cooldown = named("cooldown shape", shape, COOLDOWNS)

    def schedule(count):
        t, warmup, horizon = times(count, step_budget, warmup_fraction, horizon_fraction)
        ends = steps(jnp.asarray(end_fractions, float), horizon)
        stage = jnp.minimum(jnp.sum(t[..., None] >= ends, axis=-1), ends.size - 1)
        start, end = jnp.append(0.0, ends[:-1])[stage], ends[stage]
        x = progress(t, end - steps(cooldown_fraction, end - start), end)
        return jnp.asarray(peak, float) * rise(t, warmup) * cooldown(x, jnp.asarray(floor, float))

    return schedule


def infinite_cosine(
    peak: Number,
    step_budget: int,
    *,
    warmup_fraction: Number,
    horizon_fraction: Number,
    cosine_fraction: Number,
    annealing_fraction: Number,
    constant: Number,
    floor: Number,
) -> Schedule:
    """Warm-up, a cosine from the peak to `constant`, constant, and an exponential from there to `floor`.

    Lengths: int(cosine_fraction * H) steps after warm-up, at most up to the last int(annealing_fraction * H), which are
    constant * (floor / constant)^x. Source: Singh et al., "Beyond Cosine Decay" (arXiv 2503.02844), with t / W for warm-up.
    """

    def schedule(count):
        t, warmup, horizon = times(count, step_budget, warmup_fraction, horizon_fraction)
        level, low = jnp.asarray(constant, float), jnp.asarray(floor, float)
        annealing = horizon - steps(annealing_fraction, horizon)
        u = progress(t, warmup, jnp.minimum(warmup + steps(cosine_fraction, horizon), annealing))
        x = progress(t, annealing, horizon)
        falling = jnp.where(t < annealing, above(level, half_cosine(u)), jnp.power(level, 1.0 - x) * jnp.power(low, x))
        return jnp.asarray(peak, float) * rise(t, warmup) * falling

    return schedule


CYCLES: dict[str, Callable[[jax.Array, jax.Array, jax.Array], jax.Array]] = {
    "triangular": lambda cycle, t, gamma: jnp.ones_like(t),
    "triangular2": lambda cycle, t, gamma: jnp.exp2(1.0 - cycle),
    "exp_range": lambda cycle, t, gamma: jnp.power(gamma, t),
}
"""Heights of the triangles of `cyclical`, by mode."""


def cyclical(
    peak: Number,
    step_budget: int,
    *,
    half_cycle_fraction: Number,
    base: Number,
    mode: str = "triangular",
    gamma: Number = 1.0,
) -> Schedule:
    """Triangles between base * peak and peak, S = int(half_cycle_fraction * step_budget) steps up and S down (CLR).

    cycle = floor(1 + t / (2 S)), x = |t / S - 2 cycle + 1|, share base + (1 - base) * max(0, 1 - x) * height; the height is
    1 ("triangular"), 2^(1 - cycle) ("triangular2") or gamma^t ("exp_range"). The first update is at the base; there is no
    warm-up and no end. Source: Smith, "Cyclical Learning Rates" (arXiv 1506.01186): S of 2 to 10 epochs.
    """
    height = named("cycle mode", mode, CYCLES)

    def schedule(count):
        t = jnp.asarray(count, float)
        half = jnp.maximum(steps(half_cycle_fraction, step_budget), 1.0)
        cycle = jnp.floor(1.0 + t / (2.0 * half))
        triangle = jnp.maximum(1.0 - jnp.abs(t / half - 2.0 * cycle + 1.0), 0.0)
        share = above(jnp.asarray(base, float), triangle * height(cycle, t, jnp.asarray(gamma, float)))
        return jnp.asarray(peak, float) * share

    return schedule


def power(
    peak: Number,
    step_budget: int,
    *,
    warmup_fraction: Number,
    horizon_fraction: Number,
    batch_size: Number,
    tokens_per_example: Number,
    coefficient: Number = 4.6,
    exponent: Number = -0.51,
    cooldown_fraction: Number = 0.1,
    shape: str = "linear",
    floor: Number = 0.0,
) -> Schedule:
    """min(peak, batch_size * coefficient * n^exponent), n = tokens before the update, times warm-up and `wsd`'s cooldown.

    n = t * batch_size * tokens_per_example, at least 1. The middle does not know the horizon: with warmup_fraction = 0,
    runs of different length share it. The constants are a fit for muP base learning rates and 1e9 tokens or more. Source:
    Shen et al., "Power Scheduler" (arXiv 2408.13359).
    """
    cooled = wsd(
        1.0,
        step_budget,
        warmup_fraction=warmup_fraction,
        horizon_fraction=horizon_fraction,
        cooldown_fraction=cooldown_fraction,
        shape=shape,
        floor=floor,
    )

    def schedule(count):
        batch = jnp.asarray(batch_size, float)
        tokens = jnp.maximum(jnp.asarray(count, float) * batch * tokens_per_example, 1.0)
        law = batch * coefficient * jnp.power(tokens, jnp.asarray(exponent, float))
        return jnp.minimum(jnp.asarray(peak, float), law) * cooled(count)

    return schedule


def inverse_sqrt(peak: Number, step_budget: int, *, warmup_fraction: Number, hold_fraction: Number = 0.0) -> Schedule:
    """peak * min((t + 1) / W, 1) * sqrt(s / max(t + 1, s)), s = max(W, int(hold_fraction * step_budget), 1); no end.

    W = int(warmup_fraction * step_budget). Without hold the Transformer's schedule (Vaswani et al., arXiv 1706.03762,
    section 5.3); without warm-up T5's (Raffel et al., arXiv 1910.10683).
    """

    def schedule(count):
        t = jnp.asarray(count, float)
        warmup = steps(warmup_fraction, step_budget)
        hold = jnp.maximum(jnp.maximum(warmup, steps(hold_fraction, step_budget)), 1.0)
        return jnp.asarray(peak, float) * rise(t, warmup) * jnp.sqrt(hold / jnp.maximum(t + 1.0, hold))

    return schedule


def _decay(
    peak: Number,
    step_budget: int,
    warmup_fraction: Number,
    horizon_fraction: Number,
    floor: Number,
    shape: Callable[[jax.Array], jax.Array],
) -> Schedule:
    """Warm-up times `shape` of u, which goes from 1 to 0, over the floor."""

    def schedule(count):
        t, warmup, horizon = times(count, step_budget, warmup_fraction, horizon_fraction)
        share = above(jnp.asarray(floor, float), shape(progress(t, warmup, horizon)))
        return jnp.asarray(peak, float) * rise(t, warmup) * share

    return schedule
