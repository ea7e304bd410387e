"""Digits on larger, noisy canvases, classified by a residual network of 20 thousand parameters (micro)."""

import functools

from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import digits
from algoperf_lite.models import tasks
from algoperf_lite.models.adapter import network
from algoperf_lite.models.resnet import ResNet

WIDTH, DEPTH = 8, 1
BATCH_SIZE = 32


def build(*, width: int = WIDTH, depth: int = DEPTH, last_norm_scale: float = 1.0) -> spec.Workload:
    """The workload, or a variant: `width` channels in the first stage, `depth` blocks a stage."""

    def make(rngs: nnx.Rngs, width: int) -> ResNet:
        return ResNet(1, digits.CLASSES, width=width, depth=depth, last_norm_scale=last_norm_scale, rngs=rngs)

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="digits_resnet",
        version=1,
        family="image classification, convolutional",
        tier="micro",
        metric="accuracy",
        direction="max",
        validation_target=0.820625,
        test_target=0.8139168765743073,
        batch_size=BATCH_SIZE,
        step_budget=600,
        evaluations=50,
        eval_batch_size=160,
        num_train_examples=16_000,
        load=functools.partial(digits.load, noise=0.2, margin=0, placements=(16, 2, 4), eval_train=160),
        init=net.init,
        batch=functools.partial(tasks.draw_images, BATCH_SIZE),
        loss=functools.partial(tasks.classification_loss, net.apply),
        evaluate=functools.partial(tasks.classification_sums, net.apply),
        finalise=tasks.classification_metrics,
        roles=net.roles,
        reference={
            "learning_rate": 0.048057069843254405,
            "b1": 0.8335479578592643,
            "b2": 0.9538074162727395,
            "eps": 1e-08,
            "weight_decay": 0.013241592534682189,
            "warmup_fraction": 0.1428525728135827,
            "horizon_fraction": 0.75,
        },
        reference_steps=378.0,
        seed_sd=0.02344652603976406,
        metric_resolution=1 / 800,
        provenance="scikit-learn digits, 25 positions, contrast U(.5, 1), noise .2; basic blocks of arXiv 1512.03385",
        batch_stats_batches=32,
    )
