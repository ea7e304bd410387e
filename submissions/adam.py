"""Adam with coupled weight decay, linear warm-up and cosine decay to zero.

Source: Kingma and Ba (arXiv 1412.6980), Algorithm 1; `optax.adam` is exact. The paper has no decay: the one here is the
L2 term of `torch.optim.Adam`, added to the gradient, 0 by default. adamw.py has the decoupled one.
"""

import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(5e-4, 0.1),
    "weight_decay": spec.log_uniform(1e-7, 1e-3),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The paper's, but for the learning rate: 1e-3 there, adamw.py's here, for some hundred steps at small width.
DEFAULTS = {
    "learning_rate": 7e-3,
    "b1": 0.9,
    "b2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
}


def build(problem, hparams):
    """The decay is added to the gradient, so it enters both moments."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    return optax.chain(
        optax.add_decayed_weights(hparams["weight_decay"]),
        optax.adam(schedule, b1=hparams["b1"], b2=hparams["b2"], eps=hparams["eps"]),
    )
