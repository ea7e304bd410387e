"""Tox21: 7.8 thousand molecules with 12 toxicity labels, a sixth of them unknown, read by a graph network (lite)."""

import functools

import jax
from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import fetch, molecules
from algoperf_lite.models.adapter import network
from algoperf_lite.models.gnn import GNN
from algoperf_lite.tasks import common, multilabel

WIDTH, DEPTH = 64, 3
BATCH_SIZE = 64
LABELS = 12
ATOMS, BONDS = 64, 72  # 99 % of the molecules have no more

VARIANTS = {
    "gelu": {"activation": "gelu"},
    "model_size": {"width": 32, "depth": 3},
}


def build(*, width: int = WIDTH, depth: int = DEPTH, activation: str = "relu") -> spec.Workload:
    """The workload, or a variant of it; the arguments are those of `graphs_gnn`."""

    def make(rngs: nnx.Rngs, width: int) -> GNN:
        return GNN(
            molecules.NODE_CATEGORIES,
            molecules.EDGE_CATEGORIES,
            LABELS,
            width=width,
            depth=depth,
            activation=getattr(jax.nn, activation),
            rngs=rngs,
        )

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="tox21_gnn",
        family="molecular graphs",
        tier="lite",
        metric="mean_average_precision",
        direction="max",
        batch_size=BATCH_SIZE,
        step_budget=2000,
        evaluations=25,
        eval_batch_size=128,
        num_train_examples=6_212,
        load=load,
        init=net.init,
        batch=functools.partial(common.draw, BATCH_SIZE),
        loss=functools.partial(multilabel.loss, net.apply),
        evaluate=functools.partial(multilabel.sums, net.apply),
        finalise=multilabel.metrics,
        roles=net.roles,
        gathered=("scores", "labels"),
        provenance="MoleculeNet Tox21 (arXiv 1703.00564), random split; GNN after AlgoPerf's ogbg (arXiv 2306.07179)",
        data=("molecules",),
        **spec.recorded(__file__, "tox21_gnn", version=1),
    )


def load() -> dict:
    """The graphs; raises `EnvironmentFault` where the data set is absent."""
    return molecules.load(fetch.path("molecules") / "tox21.csv", "molecules", atoms=ATOMS, bonds=BONDS, eval_train=512)
