"""Digits on larger, noisy canvases, classified by a residual network of 20 thousand parameters (micro)."""

import functools

from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import digits
from algoperf_lite.models.adapter import network
from algoperf_lite.models.resnet import ResNet
from algoperf_lite.tasks import classification, common

WIDTH, DEPTH = 8, 1
BATCH_SIZE = 32

VARIANTS = {
    "large_norm_scale": {"last_norm_scale": 8.0},
    "silu": {"activation": "silu"},
}


def build(
    *, width: int = WIDTH, depth: int = DEPTH, last_norm_scale: float = 1.0, activation: str = "relu"
) -> spec.Workload:
    """The workload, or a variant: `width` channels in the first stage, `depth` blocks a stage."""

    def make(rngs: nnx.Rngs, width: int) -> ResNet:
        return ResNet(
            1,
            digits.CLASSES,
            width=width,
            depth=depth,
            last_norm_scale=last_norm_scale,
            activation=activation,
            rngs=rngs,
        )

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="digits_resnet",
        family="image classification, convolutional",
        tier="micro",
        metric="accuracy",
        direction="max",
        batch_size=BATCH_SIZE,
        step_budget=600,
        evaluations=50,
        eval_batch_size=160,
        num_train_examples=16_000,
        load=functools.partial(digits.load, noise=0.2, margin=0, placements=(16, 2, 4), eval_train=160),
        init=net.init,
        batch=functools.partial(common.draw, BATCH_SIZE),
        loss=functools.partial(classification.loss, net.apply),
        evaluate=functools.partial(classification.sums, net.apply),
        finalise=classification.metrics,
        roles=net.roles,
        metric_resolution=1 / 800,
        provenance="scikit-learn digits, 25 positions, contrast U(.5, 1), noise .2; basic blocks of arXiv 1512.03385",
        batch_stats_batches=32,
        **spec.recorded(__file__, "digits_resnet", version=1),
    )
