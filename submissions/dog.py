"""DoG, distance over gradients: no learning rate to tune; evaluated at the polynomial-decay average of its iterates.

Source: Ivgi, Hinder and Carmon, "DoG is SGD's Best Friend" (arXiv 2302.12022), equation (DoG) and section 4.1. The
authors advise reps_rel = 1e-6, or 1e-4 with batch normalisation, which the roles do not tell: 1e-4 serves both.
"""

import optax
import optax.contrib

from algoperf_lite import averaging, spec

SPACE = {
    "learning_rate": spec.log_uniform(0.25, 4.0),
    "reps_rel": spec.log_uniform(1e-6, 1e-3),
    "weight_decay": spec.log_uniform(1e-7, 1e-3),
}
DEFAULTS = {"learning_rate": 1.0, "reps_rel": 1e-4, "eps": 1e-8, "weight_decay": 0.0, "averaging_alpha": 8.0}


def build(problem, hparams):
    """`learning_rate` multiplies DoG's own step (the paper's c, 1 there); the decay is coupled and enters the distance."""
    del problem  # nothing to know of it: that is the point of the method
    dog = optax.contrib.dog(
        learning_rate=hparams["learning_rate"],
        init_step=("heuristic", hparams["reps_rel"]),
        eps=hparams["eps"],
        weight_decay=hparams["weight_decay"],
    )
    return averaging.polynomial_decay(dog, hparams["averaging_alpha"])


eval_params = averaging.averaged_params
