"""A generated click log of 10 million rows, learned in one pass by a DLRM of 1.5 million parameters (lite, for a GPU)."""

import functools

from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import clicks
from algoperf_lite.models.adapter import network
from algoperf_lite.models.dlrm import DLRM
from algoperf_lite.tasks import click

WIDTH, DEPTH = 16, 2
FIELDS = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
BATCH_SIZE, STEPS = 4096, 2550
ROWS = 10 << 20

VARIANTS = {
    "embed_init": {"embedding_sd": 1.0},
    "layer_norm": {"norm": True},
}


def build(
    *,
    width: int = WIDTH,
    depth: int = DEPTH,
    rows: int = ROWS,
    embedding_sd: float = 0.25,
    norm: bool = False,
) -> spec.Workload:
    """The workload, or a variant of it; the arguments are those of `clicks_dlrm`, and the length of the log, `rows`."""

    def make(rngs: nnx.Rngs, width: int) -> DLRM:
        return DLRM(
            FIELDS,
            clicks.DENSE,
            width=width,
            depth=depth,
            embedding_sd=embedding_sd,
            norm=norm,
            rngs=rngs,
        )

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="clicks10m_dlrm",
        family="click-through prediction",
        tier="lite",
        metric="excess_nats",
        direction="min",
        batch_size=BATCH_SIZE,
        step_budget=STEPS,
        evaluations=25,
        eval_batch_size=4096,
        num_train_examples=rows,
        load=functools.partial(clicks.load, FIELDS, train=rows, held_out=min(rows, 1 << 16), eval_train=512),
        init=net.init,
        batch=functools.partial(click.pass_over, BATCH_SIZE),
        loss=functools.partial(click.loss, net.apply),
        evaluate=functools.partial(click.sums, net.apply),
        finalise=click.metrics,
        roles=net.roles,
        provenance="generated click log (algoperf_lite/data/clicks.py); DLRM of arXiv 1906.00091",
        **spec.recorded(__file__, "clicks10m_dlrm", version=1),
    )
