"""DoWG, distance over weighted gradients: no learning rate to tune; evaluated at an average of its iterates.

Source: Khaled, Mishchenko and Jin, "DoWG Unleashed" (arXiv 2305.16284), Algorithm 1; rka97/dowg, whose eps (1e-4) is both
the first squared distance and a term of the denominator. The paper has no such term: it breaks the invariance to the
scale of the loss where gradients are tiny. Optax's rule is that code's. The paper's theorems are on the average of the
iterates weighted by squared distance; here it is the polynomial-decay average, as for the other distance-based methods.
"""

import optax.contrib

from algoperf_lite import averaging, spec

SPACE = {
    "learning_rate": spec.log_uniform(0.25, 4.0),
    "init_estim_sq_dist": spec.log_uniform(1e-8, 1e-2),
    "weight_decay": spec.log_uniform(1e-7, 1e-3),
}
DEFAULTS = {
    "learning_rate": 1.0,
    "init_estim_sq_dist": 1e-4,
    "eps": 1e-4,
    "weight_decay": 0.0,
    "averaging_alpha": 8.0,
}


def build(problem, hparams):
    """`learning_rate` multiplies DoWG's own step (1 in the paper); the decay is coupled."""
    del problem  # nothing to know of it
    dowg = optax.contrib.dowg(
        learning_rate=hparams["learning_rate"],
        init_estim_sq_dist=hparams["init_estim_sq_dist"],
        eps=hparams["eps"],
        weight_decay=hparams["weight_decay"],
    )
    return averaging.polynomial_decay(dowg, hparams["averaging_alpha"])


eval_params = averaging.averaged_params
