"""COCOB-Backprop: coin betting for every coordinate, no learning rate to tune.

Source: Orabona and Tommasi, "Training Deep Networks without Learning Rates Through Coin Betting" (arXiv 1705.07795),
Algorithm 2; Orabona's package parameterfree 0.0.1, `COCOB`, has the same rule. Optax's update is the distance to the new
parameters, so that nothing may follow it, and its `learning_rate` multiplies gradients, to whose scale COCOB is
invariant: it is here for that invariance to be tested, and is not searched.
"""

import optax.contrib

from algoperf_lite import spec

SPACE = {
    "alpha": spec.log_uniform(10.0, 1000.0),
    "weight_decay": spec.log_uniform(1e-7, 1e-3),
}
DEFAULTS = {"learning_rate": 1.0, "alpha": 100.0, "eps": 1e-8, "weight_decay": 0.0}


def build(problem, hparams):
    """The decay is coupled. At gradients of zero a coordinate stays where it is: 0 / (alpha eps^2)."""
    del problem  # nothing to know of it
    return optax.contrib.cocob(
        learning_rate=hparams["learning_rate"],
        alpha=hparams["alpha"],
        eps=hparams["eps"],
        weight_decay=hparams["weight_decay"],
    )
