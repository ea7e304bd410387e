"""Schedule-Free RAdam: the rectification of the second moment is the warm-up; evaluated at the average x.

Source: facebookresearch/schedule_free 1.4.1, `RAdamScheduleFree` with its default silent phase; Defazio et al., "The Road
Less Scheduled" (arXiv 2405.15682); Liu et al., "On the Variance of the Adaptive Learning Rate" (arXiv 1908.03265),
Algorithm 2, for the rectifier. Not in optax; its `scale_by_radam` has the threshold 5 and SGD steps before it.
"""

import jax.numpy as jnp
import optax

from algoperf_lite import schedule_free, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(2e-3, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
}
# As schedule_free_adamw at this scale; the package has 2.5e-3, 0.9, 0.999 and no decay.
DEFAULTS = {
    "learning_rate": 1e-2,
    "b1": 0.95,
    "b2": 0.98,
    "eps": 1e-8,
    "weight_decay": 0.05,
    "weight_lr_power": 2.0,
}


def rectified(learning_rate, b2):
    """The schedule: learning_rate times the rectifier of step t = count + 1, and 0 (the silent phase) while rho_t <= 4."""

    def schedule(count):
        t = jnp.asarray(count, float) + 1.0
        remaining = -jnp.expm1(t * jnp.log(b2))  # 1 - b2^t, exact where b2^t is close to 1
        rho_inf = 2.0 / (1.0 - b2) - 1.0
        rho = rho_inf - 2.0 * t * (1.0 - remaining) / remaining
        square = (rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho)
        return learning_rate * jnp.where(rho > 4.0, jnp.sqrt(jnp.where(rho > 4.0, square, 1.0)), 0.0)

    return schedule


def build(problem, hparams):
    """Schedule-Free AdamW under the rectified learning rate; the decay acts at y, times that learning rate."""
    del problem  # no warm-up to lay out
    schedule = rectified(hparams["learning_rate"], hparams["b2"])
    base = optax.chain(
        optax.scale_by_rms(decay=hparams["b2"], eps=hparams["eps"], eps_in_sqrt=False, bias_correction=True),
        optax.add_decayed_weights(hparams["weight_decay"]),
        optax.scale_by_learning_rate(schedule),
    )
    return schedule_free.schedule_free(base, schedule, hparams["b1"], weight_lr_power=hparams["weight_lr_power"])


eval_params = schedule_free.eval_params
