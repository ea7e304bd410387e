"""Fashion-MNIST with augmentation, classified by a residual network of 78 thousand parameters (lite)."""

import functools

from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import fashion, fetch
from algoperf_lite.models.adapter import network
from algoperf_lite.models.resnet import ResNet
from algoperf_lite.tasks import augmentation, classification

WIDTH, DEPTH = 16, 1
BATCH_SIZE = 64

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
            fashion.CLASSES,
            width=width,
            depth=depth,
            last_norm_scale=last_norm_scale,
            activation=activation,
            rngs=rngs,
        )

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="fashion_resnet",
        family="image classification, convolutional",
        tier="lite",
        metric="accuracy",
        direction="max",
        batch_size=BATCH_SIZE,
        step_budget=2000,
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
        provenance="Fashion-MNIST, arXiv 1708.07747, shifts by up to 2 and flips; basic blocks of arXiv 1512.03385",
        data=(fashion.DATASET,),
        batch_stats_batches=32,
        **spec.recorded(__file__, "fashion_resnet", version=1),
    )


def load() -> dict:
    """The images; raises `EnvironmentFault` where the data set is absent."""
    return fashion.load(fetch.path(fashion.DATASET), eval_train=400)


def draw(data, key, step):
    """`BATCH_SIZE` augmented images, standardised; keyed by (key, step)."""
    batch = augmentation.crop_and_flip(BATCH_SIZE, 2, data, key, step)
    return {**batch, "image": fashion.standardised(batch["image"])}
