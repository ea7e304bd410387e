"""Signum: the sign of an average of the gradients, decoupled weight decay, linear warm-up and cosine decay to zero.

Source: Bernstein et al. (arXiv 1802.04434), Algorithm 2. The rule of `optax.signum`, which has no decay: coupled, it would
only compete with the gradient for the sign, so it is decoupled, as in the large-model comparison of arXiv 2509.01440.
"""

import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-4, 1e-2),
    "one_minus_beta": spec.log_uniform(1e-2, 0.3),
    "weight_decay": spec.log_uniform(1e-3, 3.0),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The paper's beta; learning rate and decay are lion.py's, as every step is as long as Lion's.
DEFAULTS = {
    "learning_rate": 2e-3,
    "beta": 0.9,
    "weight_decay": 0.05,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
}


def build(problem, hparams):
    """Every coordinate moves by the learning rate; the decay is multiplied by it."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    return optax.chain(
        optax.ema(hparams["beta"], debias=False),
        optax.scale_by_sign(),
        optax.add_decayed_weights(hparams["weight_decay"]),
        optax.scale_by_learning_rate(schedule),
    )
