"""Lion: the sign of an interpolated momentum, decoupled weight decay, linear warm-up and cosine decay to zero.

Source: Chen et al. (arXiv 2302.06675), Algorithm 2; `optax.lion` is exact.
"""

import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-4, 1e-2),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(2e-3, 0.1),
    "weight_decay": spec.log_uniform(1e-3, 3.0),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The paper's betas. Its rule for the rest: a learning rate 3 to 10 times below AdamW's (adamw.py has 7e-3), and a decay as
# much above.
DEFAULTS = {
    "learning_rate": 2e-3,
    "b1": 0.9,
    "b2": 0.99,
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
    return optax.lion(schedule, b1=hparams["b1"], b2=hparams["b2"], weight_decay=hparams["weight_decay"])
