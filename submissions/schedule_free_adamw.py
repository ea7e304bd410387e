"""Schedule-Free AdamW: averaging instead of a schedule; evaluated at the average x, trained at the interpolation y.

Source: Defazio et al., "The Road Less Scheduled" (arXiv 2405.15682), Algorithm 1; facebookresearch/schedule_free 1.4.1,
`AdamWScheduleFree`. Why not optax's: see algoperf_lite/schedule_free.py.
"""

import optax

from algoperf_lite import schedule_free, schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(2e-3, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# Tried on the two demo workloads (author seeds): b1 = 0.95 reaches their targets sooner than 0.9.
DEFAULTS = {
    "learning_rate": 1e-2,
    "b1": 0.95,
    "b2": 0.98,
    "eps": 1e-8,
    "weight_decay": 0.05,
    "warmup_fraction": 0.1,
    "weight_lr_power": 2.0,
}


def build(problem, hparams):
    """The base optimizer has no momentum of its own; the decay acts at y, times the learning rate."""
    schedule = schedules.warmup_constant(
        hparams["learning_rate"], problem.step_budget, warmup_fraction=hparams["warmup_fraction"]
    )
    base = optax.chain(
        optax.scale_by_rms(decay=hparams["b2"], eps=hparams["eps"], eps_in_sqrt=False, bias_correction=True),
        optax.add_decayed_weights(hparams["weight_decay"]),
        optax.scale_by_learning_rate(schedule),
    )
    return schedule_free.schedule_free(base, schedule, hparams["b1"], weight_lr_power=hparams["weight_lr_power"])


eval_params = schedule_free.eval_params
