"""A generated click log with known Bayes loss, learned in a pass by a DLRM of 79 thousand parameters (micro)."""

import functools

from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import clicks
from algoperf_lite.models.adapter import network
from algoperf_lite.models.dlrm import DLRM
from algoperf_lite.tasks import click

WIDTH, DEPTH = 16, 2
FIELDS = (10, 20, 50, 100, 200, 500, 1000, 2000)
BATCH_SIZE, STEPS = 512, 2050
TRAIN = 1 << 20

VARIANTS = {
    "embed_init": {"embedding_sd": 1.0},
    "layer_norm": {"norm": True},
}


def build(*, width: int = WIDTH, depth: int = DEPTH, embedding_sd: float = 0.25, norm: bool = False) -> spec.Workload:
    """The workload, or a variant of it.

    Args:
      width: of the embedding vectors; the perceptrons grow with it.
      depth: hidden layers of the top perceptron.
      embedding_sd: initial standard deviation of the embeddings.
      norm: LayerNorm in the perceptrons.
    """

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
        name="clicks_dlrm",
        family="click-through prediction",
        tier="micro",
        metric="excess_nats",
        direction="min",
        batch_size=BATCH_SIZE,
        step_budget=STEPS,
        evaluations=50,
        eval_batch_size=2048,
        num_train_examples=TRAIN,
        load=functools.partial(clicks.load, FIELDS, train=TRAIN, held_out=1 << 14, eval_train=512),
        init=net.init,
        batch=functools.partial(click.pass_over, BATCH_SIZE),
        loss=functools.partial(click.loss, net.apply),
        evaluate=functools.partial(click.sums, net.apply),
        finalise=click.metrics,
        roles=net.roles,
        provenance="generated click log (algoperf_lite/data/clicks.py); DLRM of arXiv 1906.00091",
        **spec.recorded(__file__, "clicks_dlrm", version=1),
    )
