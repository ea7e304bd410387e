"""Digits on larger canvases, classified by a vision transformer of 87 thousand parameters (micro)."""

import functools

from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import digits
from algoperf_lite.models import tasks
from algoperf_lite.models.adapter import network
from algoperf_lite.models.vit import ViT

WIDTH, DEPTH, HEAD_DIM = 48, 3, 16
BATCH_SIZE = 64


def build(*, width: int = WIDTH, depth: int = DEPTH, qk_norm: bool = True, post_norm: bool = False) -> spec.Workload:
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
            rngs=rngs,
        )

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="digits_vit",
        version=1,
        family="image classification, attention",
        tier="micro",
        metric="accuracy",
        direction="max",
        validation_target=0.8981250000000001,
        test_target=0.8982997481108312,
        batch_size=BATCH_SIZE,
        step_budget=800,
        evaluations=50,
        eval_batch_size=160,
        num_train_examples=16_000,
        load=functools.partial(digits.load, noise=0.1, margin=1, placements=(16, 2, 4), eval_train=160),
        init=net.init,
        batch=functools.partial(tasks.draw_images, BATCH_SIZE),
        loss=functools.partial(tasks.classification_loss, net.apply),
        evaluate=functools.partial(tasks.classification_sums, net.apply),
        finalise=tasks.classification_metrics,
        roles=net.roles,
        reference={
            "learning_rate": 0.014754452305082153,
            "b1": 0.8370249482490968,
            "b2": 0.9383630931419102,
            "eps": 1e-08,
            "weight_decay": 0.08712668002034707,
            "warmup_fraction": 0.2046687359814083,
            "horizon_fraction": 0.75,
        },
        reference_steps=536.0,
        seed_sd=0.013189984626391519,
        metric_resolution=1 / 800,
        provenance="scikit-learn digits, 9 positions, contrast U(.5, 1), noise .1; ViT of arXiv 2010.11929, patch 4",
    )
