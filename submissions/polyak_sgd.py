"""SGD with the stochastic Polyak step, bounded above.

Source: Loizou, Vaswani, Laradji and Lacoste-Julien (arXiv 2002.10542), SPS_max with c = 1; `variant` "sps+" is that of
Garrigos, Gower and Schaipp (arXiv 2307.14528). Not `optax.polyak_sgd`, whose `scaling` enters the norm too, so that it
divides the step where it should multiply it: here the same parts stand in the other order.
"""

import jax
import optax

from algoperf_lite import schedules, spec

SPACE = {
    "learning_rate": spec.log_uniform(0.1, 2.0),
    "max_learning_rate": spec.log_uniform(0.1, 10.0),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# optax's, but for the schedule (the papers have none; their losses reach f_min) and for "sps+": the two variants are the
# same where f_min is a lower bound, as "sps" assumes, and "sps" climbs where it is none.
DEFAULTS = {
    "learning_rate": 1.0,
    "max_learning_rate": 1.0,
    "f_min": 0.0,
    "variant": "sps+",
    "warmup_fraction": 0.05,
    "horizon_fraction": 0.75,
}


def build(problem, hparams):
    """The schedule multiplies min((f - f_min) / |g|^2, max_learning_rate); no step where |g|^2 is under 2.3e-16 (optax's).

    The norm is summed in float32 (float64 under x64), for bfloat16 parameters too.
    """
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    return optax.chain(
        optax.stateless(lambda updates, params: optax.tree.cast(updates, float)),
        optax.scale_by_polyak(
            f_min=hparams["f_min"], max_learning_rate=hparams["max_learning_rate"], variant=hparams["variant"]
        ),
        optax.scale_by_learning_rate(schedule),
        optax.stateless(lambda updates, params: jax.tree.map(lambda u, p: u.astype(p.dtype), updates, params)),
    )
