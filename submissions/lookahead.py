"""Lookahead over AdamW: slow weights that follow the fast ones every few steps; evaluated at the slow ones.

Source: Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back" (arXiv 1907.08610), Algorithm 1; the inner state
is kept over a synchronisation. `optax.lookahead` asks for pairs of parameters, where the harness has plain ones.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "slow_step_size": spec.uniform(0.2, 0.9),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(2e-3, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# Those of `adamw` with twice its learning rate, of which the slow weights make half; the paper's k and alpha.
DEFAULTS = {
    "learning_rate": 1.4e-2,
    "sync_period": 5,
    "slow_step_size": 0.5,
    "b1": 0.82,
    "b2": 0.97,
    "eps": 1e-8,
    "weight_decay": 0.005,
    "warmup_fraction": 0.2,
    "horizon_fraction": 0.75,
}


class LookaheadState(NamedTuple):
    """The fast weights are the parameters."""

    inner: optax.OptState
    count: jax.Array  # int32 scalar, updates so far
    slow: optax.Params  # of the parameters' shapes


def lookahead(inner: optax.GradientTransformation, sync_period, slow_step_size) -> optax.GradientTransformationExtraArgs:
    """Every `sync_period` steps of `inner`, slow += slow_step_size (fast - slow), and the fast weights start from there."""
    inner = optax.with_extra_args_support(inner)

    def init(params):
        slow = jax.tree.map(jnp.copy, params)  # a copy: donating parameters and state must not meet one buffer twice
        return LookaheadState(inner.init(params), jnp.zeros([], jnp.int32), slow)

    def update(updates, state, params=None, **extra):
        updates, inner_state = inner.update(updates, state.inner, params, **extra)
        count = jnp.asarray(optax.safe_increment(state.count))
        pull = jnp.where(count % sync_period == 0, slow_step_size, 0.0)
        slow = jax.tree.map(lambda s, p, u: s + (pull * (p + u - s)).astype(s.dtype), state.slow, params, updates)
        updates = jax.tree.map(lambda s, p, u: jnp.where(pull > 0, s - p, u), slow, params, updates)
        return updates, LookaheadState(inner_state, count, slow)

    return optax.GradientTransformationExtraArgs(init, update)


def build(problem, hparams):
    """The fast weights' decay is decoupled and multiplied by the scheduled learning rate."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    adamw = optax.adamw(
        schedule, b1=hparams["b1"], b2=hparams["b2"], eps=hparams["eps"], weight_decay=hparams["weight_decay"]
    )
    return lookahead(adamw, hparams["sync_period"], hparams["slow_step_size"])


def eval_params(opt_state, params):
    """The slow weights, in the parameters' types."""
    return optax.tree.cast_like(opt_state.slow, params)
