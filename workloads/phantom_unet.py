"""Phantoms from k-space at acceleration 3.6, reconstructed by a U-Net of 29 thousand parameters (micro)."""

import functools

from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import phantoms
from algoperf_lite.models.adapter import network
from algoperf_lite.models.unet import Norm, UNet
from algoperf_lite.tasks import reconstruction

WIDTH, DEPTH = 8, 2
BATCH_SIZE = 8
TRAIN = 4096

VARIANTS = {
    "layer_norm": {"norm": "layer"},
    "model_size": {"width": 6, "depth": 3},
}


def build(
    *, width: int = WIDTH, depth: int = DEPTH, norm: Norm = "instance", activation: str = "leaky_relu"
) -> spec.Workload:
    """The workload, or a variant: `width` channels at full resolution, `depth` pools (at most 4)."""

    def make(rngs: nnx.Rngs, width: int) -> UNet:
        return UNet(width=width, depth=depth, norm=norm, activation=activation, rngs=rngs)

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="phantom_unet",
        family="reconstruction",
        tier="micro",
        metric="ssim",
        direction="max",
        batch_size=BATCH_SIZE,
        step_budget=800,
        evaluations=50,
        eval_batch_size=32,
        num_train_examples=TRAIN,
        load=functools.partial(phantoms.load, train=TRAIN, validation=256, test=256, eval_train=32),
        init=net.init,
        batch=functools.partial(reconstruction.draw, BATCH_SIZE, phantoms.CENTER, phantoms.PROBABILITY),
        loss=functools.partial(reconstruction.loss, net.apply),
        evaluate=functools.partial(reconstruction.sums, net.apply),
        finalise=reconstruction.metrics,
        roles=net.roles,
        provenance="sums of 4-8 ellipses, 32x32, k-space columns at acceleration 3.6; U-Net of fastMRI, arXiv 1811.08839",
        **spec.recorded(__file__, "phantom_unet", version=1),
    )
