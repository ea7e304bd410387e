"""NadamW, evaluated at a moving average of its parameters over about one percent of the budget; training untouched.

Source: Ajroldi, Orvieto and Geiping, "When, Where and Why to Average Weights?" (arXiv 2502.06761): a window of one percent
reaches AlgoPerf's targets soonest. The training is that of `nadamw`; a submission's hash covers its own file only, so none
imports another, and the rule stands here again over optax's Adam.
"""

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import averaging, schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(2e-3, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
    "window_fraction": spec.log_uniform(2e-3, 0.1),
}
# Those of `nadamw`.
DEFAULTS = {
    "learning_rate": 1.4e-2,
    "b1": 0.84,
    "b2": 0.95,
    "eps": 1e-8,
    "weight_decay": 0.08,
    "warmup_fraction": 0.2,
    "horizon_fraction": 0.75,
    "window_fraction": 0.01,
    "debias": True,
}


def scale_by_nadam(b1, b2, eps) -> optax.GradientTransformation:
    """n / (sqrt(v_hat) + eps) with n = (b1 m + (1 - b1) g) / (1 - b1^t), v_hat = v / (1 - b2^t), as `nadamw` has it."""
    adam = optax.scale_by_adam(b1, b2)

    def update(updates, state, params=None):
        _, state = adam.update(updates, state, params)  # for its moments
        assert isinstance(state, optax.ScaleByAdamState)
        nesterov = optax.tree.bias_correction(optax.tree.update_moment(updates, state.mu, b1, 1), b1, state.count)
        nu_hat = optax.tree.bias_correction(state.nu, b2, state.count)
        return jax.tree.map(lambda n, v: n / (jnp.sqrt(v) + eps), nesterov, nu_hat), state

    return optax.GradientTransformation(adam.init, update)


def build(problem, hparams):
    """The average forgets a step after `window_fraction` of the budget, to 1/e."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    nadamw = optax.chain(
        scale_by_nadam(hparams["b1"], hparams["b2"], hparams["eps"]),
        optax.add_decayed_weights(hparams["weight_decay"]),
        optax.scale_by_learning_rate(schedule),
    )
    window = jnp.maximum(hparams["window_fraction"] * problem.step_budget, 1.0)
    return averaging.ema(nadamw, 1.0 - 1.0 / window, hparams["debias"])


eval_params = averaging.averaged_params
