"""U-Net (Ronneberger et al., arXiv 1505.04597) in fastMRI's form (arXiv 1811.08839): instance norm, average pools."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from algoperf_lite.models.conv import for_nnx
from algoperf_lite.models.layers import Linear, dropout

Norm = Literal["instance", "layer"]

ACTIVATIONS: dict[str, Callable] = {
    "leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.2),
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
}


class LayerNorm(nnx.LayerNorm):
    """Normalises every image over height, width and channels, with a scale and a bias per channel."""

    def __init__(self, channels: int, rngs: nnx.Rngs):
        super().__init__(channels, epsilon=1e-5, reduction_axes=(1, 2, 3), feature_axes=-1, rngs=rngs)


def instance_norm(x):
    """Every channel of every image of x [B, H, W, C] to mean 0 and variance 1, without parameters as in fastMRI."""
    centred = x - jnp.mean(x, axis=(1, 2), keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2, axis=(1, 2), keepdims=True) + 1e-5)


def pool(x):
    """Mean of every 2x2 cell: [B, H, W, C] -> [B, H/2, W/2, C]."""
    batch, height, width, channels = x.shape
    return jnp.mean(x.reshape(batch, height // 2, 2, width // 2, 2, channels), axis=(2, 4))


class Up(nnx.Module):
    """Transposed convolution with kernel 2 and stride 2: [B, H, W, C] -> [B, 2 H, 2 W, channels_out].

    Windows do not overlap, so it is a product per pixel whose result is laid out as a 2x2 cell. `kernel` of the product is
    [C, 2 * 2 * channels_out], row of the cell first.
    """

    def __init__(self, channels_in: int, channels_out: int, rngs: nnx.Rngs):
        self.cells = Linear(channels_in, 4 * channels_out, kernel_init=nnx.initializers.he_normal(), rngs=rngs)

    def __call__(self, x):
        batch, height, width, _ = x.shape
        cells = self.cells(x).reshape(batch, height, width, 2, 2, -1)
        return cells.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, -1)


class Normalised(nnx.Module):
    """Norm and activation after a convolution."""

    def __init__(self, channels: int, norm: Norm, activation: str, rngs: nnx.Rngs):
        self.norm = nnx.data(LayerNorm(channels, rngs)) if norm == "layer" else None
        self.activation = ACTIVATIONS[activation]

    def __call__(self, x):
        return self.activation(instance_norm(x) if self.norm is None else self.norm(x))


class ConvBlock(nnx.Module):
    """Twice a 3x3 convolution without bias, norm, activation; then dropout of channels."""

    def __init__(
        self, channels_in: int, channels: int, norm: Norm, activation: str, rngs: nnx.Rngs, *, first: bool = False
    ):
        def conv(channels_in):
            return nnx.Conv(
                channels_in,
                channels,
                (3, 3),
                use_bias=False,
                kernel_init=nnx.initializers.he_normal(),
                conv_general_dilated=for_nnx,
                rngs=rngs,
            )

        # The roles know the first layer of a network by the name "stem".
        self.stem = nnx.data(conv(channels_in)) if first else None
        self.conv1 = None if first else nnx.data(conv(channels_in))
        self.after1 = Normalised(channels, norm, activation, rngs)
        self.conv2 = conv(channels)
        self.after2 = Normalised(channels, norm, activation, rngs)

    def __call__(self, x, *, train: bool, rate, key):
        conv1 = self.stem or self.conv1
        assert conv1 is not None
        x = self.after1(conv1(x))
        x = self.after2(self.conv2(x))
        return dropout(x, rate, key) if train else x


class UNet(nnx.Module):
    """Images [B, H, W, 1] -> [B, H, W, 1]; H and W are multiples of 2**depth.

    Args:
      width: channels at full resolution, doubled after each pool.
      depth: number of pools.
      norm: "instance" without parameters, or "layer" with scale and bias.
      activation: a name of `ACTIVATIONS`.
    """

    def __init__(self, *, width: int, depth: int, norm: Norm = "instance", activation: str = "leaky_relu", rngs: nnx.Rngs):
        channels = [width * 2**level for level in range(depth + 1)]
        sizes = zip([1, *channels[:-1]], channels, strict=True)
        self.down = nnx.List(
            ConvBlock(before, after, norm, activation, rngs, first=level == 0)
            for level, (before, after) in enumerate(sizes)
        )
        rising = channels[-2::-1]
        self.up = nnx.List(Up(2 * c, c, rngs) for c in rising)
        self.after_up = nnx.List(Normalised(c, norm, activation, rngs) for c in rising)
        self.blocks = nnx.List(ConvBlock(2 * c, c, norm, activation, rngs) for c in rising)
        self.readout = nnx.Linear(width, 1, kernel_init=nnx.initializers.normal(0.02), rngs=rngs)

    def __call__(self, x, *, train: bool, rate, key):
        keys = iter(jax.random.split(key, len(self.down) + len(self.blocks))) if train else None

        def run(block, x):
            return block(x, train=train, rate=rate, key=None if keys is None else next(keys))

        saved = []
        for level, block in enumerate(self.down):
            x = run(block, pool(x) if level else x)
            saved.append(x)
        saved.pop()
        for up, after, block in zip(self.up, self.after_up, self.blocks, strict=True):
            x = run(block, jnp.concatenate([after(up(x)), saved.pop()], axis=-1))
        flat = self.readout(x.reshape(-1, x.shape[-1]))  # a 1x1 convolution, as one product of two matrices
        return flat.reshape(*x.shape[:-1], 1)
