"""MoMo-Adam: Adam whose step is a truncated Polyak step of the averaged loss model, in Adam's norm.

Source: Schaipp, Ohana, Eickenberg, Defazio and Gower (arXiv 2305.07583), Algorithm 2; fabian-sp/MoMo 0.1.0, `MomoAdam`. Not
`optax.contrib.momo_adam`, which divides only the parameters by 1 + alpha lambda and not the step (the proximal step divides
both), moves nothing once the averaged gradient's squared norm is below 2e-16, and keeps its scalars in the lowest precision
of the parameters.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(5e-4, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The source's, but for the schedule of the cap: its experiments hold that constant, for any length of training. The source
# wants the cap large; 1e-2 is near AdamW's best on the micro workloads.
DEFAULTS = {
    "learning_rate": 1e-2,
    "b1": 0.9,
    "b2": 0.999,
    "eps": 1e-8,
    "lower_bound": 0.0,
    "weight_decay": 0.0,
    "adapt_lower_bound": False,
    "warmup_fraction": 0.05,
    "horizon_fraction": 0.75,
}


class MomoAdamState(NamedTuple):
    """Trees have the parameters' shapes; floats are float32 (float64 under x64), beside bfloat16 parameters too."""

    count: jax.Array  # int32 scalar, updates so far
    mu: optax.Updates  # d of the paper
    nu: optax.Updates  # v of the paper
    value: jax.Array  # scalar, f of the paper, average loss
    inner: jax.Array  # scalar, gamma of the paper, average of <g, x>
    lower_bound: jax.Array  # scalar


def momo_adam(
    learning_rate, b1, b2, eps, lower_bound, weight_decay, *, adapt_lower_bound
) -> optax.GradientTransformationExtraArgs:
    """x <- (x - tau d / D) / (1 + alpha lambda), D = eps + sqrt(v / (1 - b2^t)), with c = 1 - b1^t and
    tau = min(alpha / c, ((1 + alpha lambda)(f - c f* - gamma) + <d, x>)_+ / <d, d / D>).

    `learning_rate` is a schedule, the flag is a Python bool, the rest may be traced. `update` needs `value`, the loss.
    """

    def init(params):
        mu, nu = (optax.tree.zeros_like(params, float) for _ in range(2))
        zero = jnp.zeros([], float)
        return MomoAdamState(jnp.zeros([], jnp.int32), mu, nu, zero, zero, jnp.asarray(lower_bound, float))

    def update(updates, state, params=None, *, value=None, **extra_args):
        del extra_args
        if params is None or value is None:
            raise ValueError("MoMo's model needs parameters and loss: call update(updates, state, params, value=loss)")
        grads, x, alpha = optax.tree.cast(updates, float), optax.tree.cast(params, float), learning_rate(state.count)
        count = jnp.asarray(optax.safe_increment(state.count))
        mu = optax.tree.update_moment(grads, state.mu, b1, 1)
        nu = optax.tree.update_moment(grads, state.nu, b2, 2)
        mean = b1 * state.value + (1 - b1) * jnp.asarray(value, float)
        inner = b1 * state.inner + (1 - b1) * optax.tree.vdot(grads, x)
        direction = jax.tree.map(lambda d, v: d / (eps + jnp.sqrt(v / (1 - b2**count))), mu, nu)
        along, square = optax.tree.vdot(mu, x), optax.tree.vdot(mu, direction)
        shrink, correction = 1 + alpha * weight_decay, 1 - b1**count
        bound = state.lower_bound
        if adapt_lower_bound:
            model = shrink * (mean - inner) + along
            lower = jnp.maximum(model / (2 * shrink * correction), lower_bound)
            bound = jnp.where(model < shrink * correction * bound, lower, bound)
        gap = jnp.maximum(shrink * (mean - correction * bound - inner) + along, 0.0)
        # 0/0: any step along d = 0 is none
        tau = jnp.minimum(alpha / correction, gap / jnp.where(square == 0, 1.0, square))
        if adapt_lower_bound:
            bound = jnp.maximum((mean + along - inner - tau * square / 2) / correction, lower_bound)
        steps = jax.tree.map(lambda d, p: -(tau * d + alpha * weight_decay * p) / shrink, direction, x)
        return optax.tree.cast_like(steps, params), MomoAdamState(count, mu, nu, mean, inner, bound)

    return optax.GradientTransformationExtraArgs(init, update)


def build(problem, hparams):
    """The schedule is the cap alpha of the step, and multiplies the decay."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    return momo_adam(
        schedule,
        hparams["b1"],
        hparams["b2"],
        hparams["eps"],
        hparams["lower_bound"],
        hparams["weight_decay"],
        adapt_lower_bound=hparams["adapt_lower_bound"],
    )
