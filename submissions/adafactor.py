"""Adafactor: second moments kept as row and column means, relative step sizes, no momentum.

Source: Shazeer and Stern (arXiv 1804.04235), Algorithms 4 to 6; `optax.adafactor` but for three things. It factors nothing
with fewer than 128 rows: here every tensor of two and more axes is factored, as in the paper. Its decay does not follow
the learning rate: here it does, as in `torch.optim.Adafactor` and AlgoPerf's baseline (the paper has none). And the paper's
min(1e-2, 1 / sqrt(t)) gives way to the schedule that the other baselines have.
"""

import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(3e-3, 0.3),
    "decay_rate": spec.uniform(0.5, 1.0),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The paper's, but for the learning rate: it is relative to a tensor's root mean square, 1e-2 there for 10^5 steps.
DEFAULTS = {
    "learning_rate": 5e-2,
    "min_dim_size_to_factor": 1,
    "decay_rate": 0.8,
    "clipping_threshold": 1.0,
    "eps": 1e-30,
    "weight_decay": 0.0,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
}


def build(problem, hparams):
    """Of three and more axes the two largest are factored; the least scale of a tensor is optax's 1e-3, the paper's too."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    return optax.chain(
        optax.adafactor(
            schedule,
            min_dim_size_to_factor=hparams["min_dim_size_to_factor"],
            decay_rate=hparams["decay_rate"],
            clipping_threshold=hparams["clipping_threshold"],
            eps=hparams["eps"],
        ),
        optax.add_decayed_weights(lambda count: -hparams["weight_decay"] * schedule(count)),
    )
