"""SGD with heavy-ball momentum and coupled weight decay, linear warm-up and cosine decay to zero.

Source: Polyak (USSR Comput. Math. and Math. Phys. 4, 1964); Sutskever et al. (ICML 2013), section 2, in the form that
keeps the learning rate out of the momentum, as `torch.optim.SGD`. `optax.sgd` is exact; it has no decay, added here to
the gradient as that package does.
"""

import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-2, 3.0),
    "one_minus_momentum": spec.log_uniform(2e-2, 0.3),
    "weight_decay": spec.log_uniform(1e-7, 1e-3),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The same point as nesterov.py's, so that the two differ by the look-ahead alone.
DEFAULTS = {
    "learning_rate": 0.2,
    "momentum": 0.9,
    "weight_decay": 1e-5,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
}


def build(problem, hparams):
    """The decay is added to the gradient, so it enters the momentum."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    return optax.chain(
        optax.add_decayed_weights(hparams["weight_decay"]),
        optax.sgd(schedule, momentum=hparams["momentum"]),
    )
