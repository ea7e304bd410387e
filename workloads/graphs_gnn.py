"""Generated molecule-like graphs with 12 labels, read by a graph network of 65 thousand parameters (micro)."""

import functools

import jax
from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import graphs
from algoperf_lite.models.adapter import network
from algoperf_lite.models.gnn import GNN
from algoperf_lite.tasks import common, multilabel

WIDTH, DEPTH = 48, 3
BATCH_SIZE = 64
TRAIN = 8192

VARIANTS = {
    "gelu": {"activation": "gelu"},
    "model_size": {"width": 24, "depth": 2},
}


def build(*, width: int = WIDTH, depth: int = DEPTH, activation: str = "relu") -> spec.Workload:
    """The workload, or a variant of it.

    Args:
      width: of the states of nodes, edges and graph.
      depth: rounds of message passing.
      activation: a function of `jax.nn`.
    """

    def make(rngs: nnx.Rngs, width: int) -> GNN:
        return GNN(
            (graphs.TYPES,),
            (graphs.BONDS,),
            graphs.LABELS,
            width=width,
            depth=depth,
            activation=getattr(jax.nn, activation),
            rngs=rngs,
        )

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="graphs_gnn",
        family="molecular graphs",
        tier="micro",
        metric="mean_average_precision",
        direction="max",
        batch_size=BATCH_SIZE,
        step_budget=1000,
        evaluations=50,
        eval_batch_size=256,
        num_train_examples=TRAIN,
        load=functools.partial(graphs.load, train=TRAIN, held_out=2048, eval_train=256),
        init=net.init,
        batch=functools.partial(common.draw, BATCH_SIZE),
        loss=functools.partial(multilabel.loss, net.apply),
        evaluate=functools.partial(multilabel.sums, net.apply),
        finalise=multilabel.metrics,
        roles=net.roles,
        gathered=("scores", "labels"),
        provenance="generated graphs (algoperf_lite/data/graphs.py); GNN after AlgoPerf's ogbg (arXiv 2306.07179)",
        **spec.recorded(__file__, "graphs_gnn", version=1),
    )
