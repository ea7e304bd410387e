"""Residual networks of basic blocks with batch normalisation (He et al., arXiv 1512.03385), for small images."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from algoperf_lite.models.conv import for_nnx
from algoperf_lite.models.layers import dropout

_he = nnx.initializers.he_normal()

ACTIVATIONS = {"relu": jax.nn.relu, "gelu": jax.nn.gelu, "silu": jax.nn.silu, "tanh": jnp.tanh}


def _conv(channels_in, channels_out, size, stride, rngs):
    return nnx.Conv(
        channels_in,
        channels_out,
        (size, size),
        strides=stride,
        use_bias=False,
        kernel_init=_he,
        conv_general_dilated=for_nnx,
        rngs=rngs,
    )


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions and a shortcut; [B, H, W, channels_in] -> [B, H/stride, W/stride, channels_out]."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, last_norm_scale: float, activation: str, rngs: nnx.Rngs
    ):
        self.activation = ACTIVATIONS[activation]
        norm = functools.partial(nnx.BatchNorm, momentum=0.9, rngs=rngs)
        self.conv1 = _conv(channels_in, channels_out, 3, stride, rngs)
        self.norm1 = norm(channels_out)
        self.conv2 = _conv(channels_out, channels_out, 3, 1, rngs)
        self.norm2 = norm(channels_out, scale_init=nnx.initializers.constant(last_norm_scale))
        # A projection wherever the shape changes, the identity elsewhere (option B of the paper).
        self.shortcut = (
            nnx.data(_conv(channels_in, channels_out, 1, stride, rngs))
            if stride != 1 or channels_in != channels_out
            else None
        )
        self.shortcut_norm = nnx.data(norm(channels_out)) if self.shortcut is not None else None

    def __call__(self, x, train: bool):
        running = not train
        y = self.activation(self.norm1(self.conv1(x), use_running_average=running))
        y = self.norm2(self.conv2(y), use_running_average=running)
        if self.shortcut is not None and self.shortcut_norm is not None:
            x = self.shortcut_norm(self.shortcut(x), use_running_average=running)
        return self.activation(x + y)


class ResNet(nnx.Module):
    """Stem, three stages of `depth` blocks with width, 2 width and 4 width channels, mean pool, linear readout.

    [B, H, W, C] -> logits [B, classes]. Every stage but the first halves the image.

    Args:
      last_norm_scale: initial scale of each block's second norm.
      activation: a name of `ACTIVATIONS`.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        width: int,
        depth: int,
        last_norm_scale: float = 1.0,
        activation: str = "relu",
        rngs: nnx.Rngs,
    ):
        self.activation = ACTIVATIONS[activation]
        self.stem = _conv(channels, width, 3, 1, rngs)
        self.stem_norm = nnx.BatchNorm(width, momentum=0.9, rngs=rngs)
        blocks, channels_in = [], width
        for stage in range(3):
            for block in range(depth):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(BasicBlock(channels_in, width * 2**stage, stride, last_norm_scale, activation, rngs))
                channels_in = width * 2**stage
        self.blocks = nnx.List(blocks)
        self.readout = nnx.Linear(channels_in, classes, kernel_init=nnx.initializers.normal(0.02), rngs=rngs)

    def __call__(self, x, *, train: bool, rate, key):
        x = self.activation(self.stem_norm(self.stem(x), use_running_average=not train))
        for block in self.blocks:
            x = block(x, train)
        x = jnp.mean(x, axis=(1, 2))
        return self.readout(dropout(x, rate, key) if train else x)
