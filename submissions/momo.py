"""MoMo: SGD with momentum whose step is a truncated Polyak step of the averaged loss model.

Source: Schaipp, Ohana, Eickenberg, Defazio and Gower (arXiv 2305.07583), Algorithm 1; fabian-sp/MoMo 0.1.0, `Momo`. Not
`optax.contrib.momo`, which divides only the parameters by 1 + alpha lambda and not the step (the proximal step divides
both), moves nothing once the averaged gradient's squared norm is below 2e-16, and keeps its scalars in the lowest precision
of the parameters.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(0.1, 10.0),
    "one_minus_beta": spec.log_uniform(2e-2, 0.3),
    "weight_decay": spec.log_uniform(1e-6, 1e-2),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The source's, but for the schedule of the cap: its experiments hold that constant, for any length of training.
DEFAULTS = {
    "learning_rate": 1.0,
    "beta": 0.9,
    "lower_bound": 0.0,
    "weight_decay": 0.0,
    "adapt_lower_bound": False,
    "warmup_fraction": 0.05,
    "horizon_fraction": 0.75,
}


class MomoState(NamedTuple):
    """Floats are float32 (float64 under x64), beside bfloat16 parameters too."""

    count: jax.Array  # int32 scalar, updates so far
    mu: optax.Updates  # d of the paper, average gradient, of the parameters' shapes
    value: jax.Array  # scalar, f of the paper, average loss
    inner: jax.Array  # scalar, gamma of the paper, average of <g, x>
    lower_bound: jax.Array  # scalar


def momo(learning_rate, beta, lower_bound, weight_decay, *, adapt_lower_bound) -> optax.GradientTransformationExtraArgs:
    """x <- (x - tau d) / (1 + alpha lambda), tau = min(alpha, ((1 + alpha lambda)(f - f* - gamma) + <d, x>)_+ / |d|^2).

    `learning_rate` is a schedule, the flag is a Python bool, the rest may be traced. `update` needs `value`, the loss.
    """

    def init(params):
        mu, zero = optax.tree.zeros_like(params, float), jnp.zeros([], float)
        return MomoState(jnp.zeros([], jnp.int32), mu, zero, zero, jnp.asarray(lower_bound, float))

    def update(updates, state, params=None, *, value=None, **extra_args):
        del extra_args
        if params is None or value is None:
            raise ValueError("MoMo's model needs parameters and loss: call update(updates, state, params, value=loss)")
        grads, x, alpha = optax.tree.cast(updates, float), optax.tree.cast(params, float), learning_rate(state.count)
        b = jnp.where(state.count == 0, 0.0, beta)  # the averages start at the first values
        mu = optax.tree.update_moment(grads, state.mu, b, 1)
        mean = b * state.value + (1 - b) * jnp.asarray(value, float)
        inner = b * state.inner + (1 - b) * optax.tree.vdot(grads, x)
        along, square = optax.tree.vdot(mu, x), optax.tree.norm(mu, squared=True)
        shrink = 1 + alpha * weight_decay
        bound = state.lower_bound
        if adapt_lower_bound:
            model = shrink * (mean - inner) + along
            bound = jnp.where(model < shrink * bound, jnp.maximum(model / (2 * shrink), lower_bound), bound)
        gap = jnp.maximum(shrink * (mean - bound - inner) + along, 0.0)
        tau = jnp.minimum(alpha, gap / jnp.where(square == 0, 1.0, square))  # 0/0: any step along d = 0 is none
        if adapt_lower_bound:
            bound = jnp.maximum(mean + along - inner - tau * square / 2, lower_bound)
        steps = jax.tree.map(lambda d, p: -(tau * d + alpha * weight_decay * p) / shrink, mu, x)
        count = jnp.asarray(optax.safe_increment(state.count))
        return optax.tree.cast_like(steps, params), MomoState(count, mu, mean, inner, bound)

    return optax.GradientTransformationExtraArgs(init, update)


def build(problem, hparams):
    """The schedule is the cap alpha of the step, and multiplies the decay."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    return momo(
        schedule,
        hparams["beta"],
        hparams["lower_bound"],
        hparams["weight_decay"],
        adapt_lower_bound=hparams["adapt_lower_bound"],
    )
