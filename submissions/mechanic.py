"""Mechanic on AdamW: an online learner finds the scale of the base optimizer's summed updates.

Source: Cutkosky, Defazio and Mehta (arXiv 2306.00144), Algorithm 1, as the authors put it in `optax.contrib.mechanize`.
Unlike the algorithm as printed: the gains h are clipped to [-m, m], which came after the paper; max(r, 0) is used, but r
itself is kept, so that losses have to be earned back first; the summed updates are recomputed from the parameters, over
s + eps, instead of stored (bfloat16 parameters hardly start: x + s_init u rounds to x).
"""

import optax
import optax.contrib

from algoperf_lite import schedules, spec

SPACE = {
    "s_decay": spec.log_uniform(1e-3, 1e-1),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(5e-4, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# Of mechanize and of AdamW; the base's learning rate of 1 is what mechanize asks for. `s_init` is 1e-8 in the paper.
DEFAULTS = {
    "learning_rate": 1.0,
    "b1": 0.9,
    "b2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "s_decay": 0.01,
    "s_init": 1e-6,
    "num_betas": 6,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
}


def build(problem, hparams):
    """`weight_decay` is the base's, and scaled with its updates; `s_decay` is Mechanic's own, lambda of the paper."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    base = optax.adamw(
        schedule, b1=hparams["b1"], b2=hparams["b2"], eps=hparams["eps"], weight_decay=hparams["weight_decay"]
    )
    return optax.contrib.mechanize(
        base, weight_decay=hparams["s_decay"], s_init=hparams["s_init"], num_betas=hparams["num_betas"]
    )
