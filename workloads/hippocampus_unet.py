"""Real MR slices from a quarter of their k-space, reconstructed by a U-Net of 0.48 million parameters (lite)."""

import functools

from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import fetch, hippocampus
from algoperf_lite.models.adapter import network
from algoperf_lite.models.unet import Norm, UNet
from algoperf_lite.tasks import reconstruction

WIDTH, DEPTH = 16, 3
BATCH_SIZE = 8

VARIANTS = {
    "layer_norm": {"norm": "layer"},
    "model_size": {"width": 24, "depth": 2},
}


def build(
    *, width: int = WIDTH, depth: int = DEPTH, norm: Norm = "instance", activation: str = "leaky_relu"
) -> spec.Workload:
    """The workload, or a variant: `width` channels at full resolution, `depth` pools (at most 4)."""

    def make(rngs: nnx.Rngs, width: int) -> UNet:
        return UNet(width=width, depth=depth, norm=norm, activation=activation, rngs=rngs)

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="hippocampus_unet",
        family="reconstruction",
        tier="lite",
        metric="ssim",
        direction="max",
        batch_size=BATCH_SIZE,
        step_budget=2000,
        evaluations=25,
        eval_batch_size=32,
        num_train_examples=7380,
        load=load,
        init=net.init,
        batch=functools.partial(reconstruction.draw, BATCH_SIZE, hippocampus.CENTER, hippocampus.PROBABILITY),
        loss=functools.partial(reconstruction.loss, net.apply),
        evaluate=functools.partial(reconstruction.sums, net.apply),
        finalise=reconstruction.metrics,
        roles=net.roles,
        provenance="Medical Segmentation Decathlon Task04, split by subject, acceleration 3.75; U-Net of arXiv 1811.08839",
        data=(hippocampus.DATASET,),
        **spec.recorded(__file__, "hippocampus_unet", version=1),
    )


def load() -> dict:
    """The slices; raises `EnvironmentFault` where the data set is absent."""
    return hippocampus.load(fetch.path(hippocampus.DATASET), eval_train=64)
