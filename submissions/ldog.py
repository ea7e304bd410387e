"""L-DoG, layer-wise DoG: distance over gradients for each parameter tensor apart, no learning rate to tune.

Source: Ivgi, Hinder and Carmon, "DoG is SGD's Best Friend" (arXiv 2302.12022), section 4.1; formll/dog 1.0.3, `LDoG`.
Evaluated at the polynomial-decay average, as the authors ask for. Built of optax's DoG, one per tensor: its
`scale_by_distance_over_gradients` is L-DoG too, but has the opposite sign, and makes a scalar parameter's update a vector.
"""

import jax
import optax
import optax.contrib

from algoperf_lite import averaging, spec

SPACE = {
    "learning_rate": spec.log_uniform(0.25, 4.0),
    "reps_rel": spec.log_uniform(1e-6, 1e-3),
    "weight_decay": spec.log_uniform(1e-7, 1e-3),
}
# The authors advise reps_rel = 1e-6, or 1e-4 with batch normalisation, which the roles do not tell: 1e-4 serves both.
DEFAULTS = {"learning_rate": 1.0, "reps_rel": 1e-4, "eps": 1e-8, "weight_decay": 0.0, "averaging_alpha": 8.0}


def build(problem, hparams):
    """`learning_rate` multiplies L-DoG's own steps (the paper's c, 1 there); the decay is coupled."""
    names = jax.tree.map_with_path(lambda path, _: jax.tree_util.keystr(path), problem.shapes)
    dog = optax.contrib.dog(
        learning_rate=hparams["learning_rate"],
        init_step=("heuristic", hparams["reps_rel"]),
        eps=hparams["eps"],
        weight_decay=hparams["weight_decay"],
    )
    ldog = optax.partition(dict.fromkeys(jax.tree.leaves(names), dog), names)
    return averaging.polynomial_decay(ldog, hparams["averaging_alpha"])


eval_params = averaging.averaged_params
