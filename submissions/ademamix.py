"""AdEMAMix: AdamW with a second, slow momentum beside the first; both its weight and its memory are warmed up.

Source: Pagliardini, Ablin and Grangier (arXiv 2409.03137), Algorithm 1; apple/ml-ademamix.
`optax.contrib.ademamix` warms neither up by itself, and the schedules that it takes count from 0, the paper's from 1.
"""

import jax.numpy as jnp
import optax
import optax.contrib

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(5e-4, 0.1),
    "one_minus_b3": spec.log_uniform(3e-4, 3e-2),
    "alpha": spec.uniform(1.0, 10.0),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The paper's, but for the learning rate (adamw.py's, a little less) and b3: 0.9999 there, with 0.999 for short runs (its
# appendix on few iterations). It warms alpha and b3 up over the whole run, which here is the schedule's horizon.
DEFAULTS = {
    "learning_rate": 5e-3,
    "b1": 0.9,
    "b2": 0.999,
    "b3": 0.999,
    "alpha": 5.0,
    "eps": 1e-8,
    "weight_decay": 0.1,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
    "slow_warmup_fraction": 0.75,
}


def build(problem, hparams):
    """alpha rises linearly, b3 from b1 so that its half-life ln 2 / -ln b3 does; the decay is AdamW's."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )

    def progress(count):
        steps = jnp.floor(jnp.asarray(hparams["slow_warmup_fraction"], float) * problem.step_budget + 1e-3)
        return jnp.minimum((jnp.asarray(count, float) + 1) / jnp.maximum(steps, 1), 1)

    def b3(count):
        first, last = (-jnp.log(2) / jnp.log(hparams[name]) for name in ("b1", "b3"))
        return 0.5 ** (1 / ((1 - progress(count)) * first + progress(count) * last))

    return optax.contrib.ademamix(
        schedule,
        b1=hparams["b1"],
        b2=hparams["b2"],
        b3=b3,
        alpha=lambda count: hparams["alpha"] * progress(count),
        eps=hparams["eps"],
        weight_decay=hparams["weight_decay"],
    )
