"""AdamW with linear warm-up and cosine decay to zero. Source: Loshchilov and Hutter (arXiv 1711.05101); optax."""

import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(2e-3, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# Near the best settings of the target procedure on the micro workloads (author seeds), one point for all.
DEFAULTS = {
    "learning_rate": 7e-3,
    "b1": 0.82,
    "b2": 0.97,
    "eps": 1e-8,
    "weight_decay": 0.005,
    "warmup_fraction": 0.2,
    "horizon_fraction": 0.75,
}


def build(problem, hparams):
    """The decay is decoupled and multiplied by the scheduled learning rate."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    return optax.adamw(
        schedule, b1=hparams["b1"], b2=hparams["b2"], eps=hparams["eps"], weight_decay=hparams["weight_decay"]
    )
