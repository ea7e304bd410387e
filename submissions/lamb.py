"""LAMB: Adam's direction with decay, scaled per tensor to the length of the tensor itself.

Source: You et al. (arXiv 1904.00962), Algorithm 2 with phi(z) = z; `optax.lamb` is exact. Every tensor has its ratio, as
in the algorithm and in AlgoPerf's LAMB baseline. (Some of the authors' runs leave norms out of both decay and ratio, by
name.) A tensor or a direction of length zero has the ratio 1, as in the authors' code.
"""

import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(2e-3, 0.2),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(5e-4, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The authors', but for the learning rate, the relative change of a tensor per step: up to 4e-2 in their shortest runs.
DEFAULTS = {
    "learning_rate": 2e-2,
    "b1": 0.9,
    "b2": 0.999,
    "eps": 1e-6,
    "weight_decay": 0.01,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
}


def build(problem, hparams):
    """The decay joins the direction before the ratio is taken."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    return optax.lamb(
        schedule, b1=hparams["b1"], b2=hparams["b2"], eps=hparams["eps"], weight_decay=hparams["weight_decay"]
    )
