"""Fashion-MNIST with augmentation, classified by a vision transformer of 0.8 million parameters (lite)."""

import functools

from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import fashion, fetch
from algoperf_lite.models.adapter import network
from algoperf_lite.models.vit import ViT
from algoperf_lite.tasks import augmentation, classification

WIDTH, DEPTH, HEAD_DIM = 128, 4, 32
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
    """The workload, or a variant of it; `width` is a multiple of the head dimension 32."""

    def make(rngs: nnx.Rngs, width: int) -> ViT:
        return ViT(
            fashion.SIZE,
            4,
            1,
            fashion.CLASSES,
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
        name="fashion_vit",
        family="image classification, attention",
        tier="lite",
        metric="accuracy",
        direction="max",
        batch_size=BATCH_SIZE,
        step_budget=4000,
        evaluations=25,
        eval_batch_size=200,
        num_train_examples=fashion.TRAIN,
        load=load,
        init=net.init,
        batch=draw,
        loss=functools.partial(classification.loss, net.apply),
        evaluate=functools.partial(classification.sums, net.apply),
        finalise=classification.metrics,
        roles=net.roles,
        metric_resolution=1 / fashion.VALIDATION,
        provenance="Fashion-MNIST, arXiv 1708.07747, shifts by up to 2 and flips; ViT of arXiv 2010.11929, patch 4",
        data=(fashion.DATASET,),
        **spec.recorded(__file__, "fashion_vit", version=1),
    )


def load() -> dict:
    """The images; raises `EnvironmentFault` where the data set is absent."""
    return fashion.load(fetch.path(fashion.DATASET), eval_train=400)


def draw(data, key, step):
    """`BATCH_SIZE` augmented images, standardised; keyed by (key, step)."""
    batch = augmentation.crop_and_flip(BATCH_SIZE, 2, data, key, step)
    return {**batch, "image": fashion.standardised(batch["image"])}
