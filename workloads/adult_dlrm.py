"""UCI Adult, whose 8 categorical and 6 numeric columns look like a click log's, learned by a small DLRM (lite)."""

import functools

from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import adult, fetch
from algoperf_lite.models.adapter import network
from algoperf_lite.models.dlrm import DLRM
from algoperf_lite.tasks import click, common

WIDTH, DEPTH = 8, 2
BATCH_SIZE = 256

VARIANTS = {
    "embed_init": {"embedding_sd": 1.0},
    "layer_norm": {"norm": True},
}


def build(*, width: int = WIDTH, depth: int = DEPTH, embedding_sd: float = 0.1, norm: bool = False) -> spec.Workload:
    """The workload, or a variant of it; the arguments are those of `clicks_dlrm`."""

    def make(rngs: nnx.Rngs, width: int) -> DLRM:
        return DLRM(
            adult.FIELDS,
            adult.DENSE,
            width=width,
            depth=depth,
            embedding_sd=embedding_sd,
            norm=norm,
            rngs=rngs,
        )

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="adult_dlrm",
        family="click-through prediction",
        tier="lite",
        metric="log_loss",
        direction="min",
        batch_size=BATCH_SIZE,
        step_budget=2000,
        evaluations=25,
        eval_batch_size=2048,
        num_train_examples=adult.TRAIN,
        load=load,
        init=net.init,
        batch=functools.partial(common.draw, BATCH_SIZE),
        loss=functools.partial(click.loss, net.apply),
        evaluate=functools.partial(click.sums, net.apply),
        finalise=click.metrics,
        roles=net.roles,
        provenance="UCI Adult, 10 % of adult.data as validation, adult.test as test; DLRM of arXiv 1906.00091",
        data=("adult",),
        **spec.recorded(__file__, "adult_dlrm", version=1),
    )


def load() -> dict:
    """The tables; raises `EnvironmentFault` where the data set is absent."""
    return adult.load(fetch.path("adult"), eval_train=512)
