"""Digits on larger canvases, classified by a vision transformer of 85 thousand parameters (micro)."""

import functools

from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import digits
from algoperf_lite.models.adapter import network
from algoperf_lite.models.vit import ViT
from algoperf_lite.tasks import classification, common

WIDTH, DEPTH, HEAD_DIM = 48, 3, 16
BATCH_SIZE = 64

VARIANTS = {
    "post_norm": {"post_norm": True},
    "glu": {"gated": True},
}


def build(
    *,
    width: int = WIDTH,
    depth: int = DEPTH,
    qk_norm: bool = True,
    post_norm: bool = False,
    gated: bool = False,
) -> spec.Workload:
    """The workload, or a variant of it; `width` is a multiple of the head dimension 16."""

    def make(rngs: nnx.Rngs, width: int) -> ViT:
        return ViT(
            digits.SIZE,
            4,
            1,
            digits.CLASSES,
            width=width,
            depth=depth,
            head_dim=HEAD_DIM,
            qk_norm=qk_norm,
            post_norm=post_norm,
            gated=gated,
            rngs=rngs,
        )

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="digits_vit",
        family="image classification, attention",
        tier="micro",
        metric="accuracy",
        direction="max",
        batch_size=BATCH_SIZE,
        step_budget=800,
        evaluations=50,
        eval_batch_size=160,
        num_train_examples=16_000,
        load=functools.partial(digits.load, noise=0.1, margin=1, placements=(16, 2, 4), eval_train=160),
        init=net.init,
        batch=functools.partial(common.draw, BATCH_SIZE),
        loss=functools.partial(classification.loss, net.apply),
        evaluate=functools.partial(classification.sums, net.apply),
        finalise=classification.metrics,
        roles=net.roles,
        metric_resolution=1 / 800,
        provenance="scikit-learn digits, 9 positions, contrast U(.5, 1), noise .1; ViT of arXiv 2010.11929, patch 4",
        **spec.recorded(__file__, "digits_vit", version=1),
    )
