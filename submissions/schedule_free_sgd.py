"""Schedule-Free SGD: averaging instead of a schedule; evaluated at the average x, trained at the interpolation y.

Source: Defazio et al., "The Road Less Scheduled" (arXiv 2405.15682), equations (3)-(5); facebookresearch/schedule_free
1.4.1, `SGDScheduleFree`, whose `momentum` is `b1` here. Why not optax's: see algoperf_lite/schedule_free.py.
"""

import optax

from algoperf_lite import schedule_free, schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(0.1, 10.0),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "weight_decay": spec.log_uniform(1e-7, 1e-3),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The package's 1.0 and 0.9. Its authors advise 10 to 50 times the learning rate of SGD with momentum and a schedule,
# which is 0.2 at this scale, and a warm-up: 1.0 is half of the least of that.
DEFAULTS = {
    "learning_rate": 1.0,
    "b1": 0.9,
    "weight_decay": 1e-5,
    "warmup_fraction": 0.1,
    "weight_lr_power": 2.0,
}


def build(problem, hparams):
    """The decay is coupled: added to the gradient at y, as the package does."""
    schedule = schedules.warmup_constant(
        hparams["learning_rate"], problem.step_budget, warmup_fraction=hparams["warmup_fraction"]
    )
    base = optax.chain(optax.add_decayed_weights(hparams["weight_decay"]), optax.scale_by_learning_rate(schedule))
    return schedule_free.schedule_free(base, schedule, hparams["b1"], weight_lr_power=hparams["weight_lr_power"])


eval_params = schedule_free.eval_params
