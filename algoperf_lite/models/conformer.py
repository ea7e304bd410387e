"""Conformer for speech (Gulati et al., arXiv 2005.08100) with learned absolute positions, on stacked frames.

Frames beyond an utterance's end have no influence: attention does not see them, the convolution gets zeros for them, and
batch normalisation leaves them out of its statistics.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from algoperf_lite.models.layers import MLP, Attention, Linear, dropout
from algoperf_lite.models.lstm import stack

TAPS = 7


class DepthwiseConv(nnx.Conv):
    """A convolution over time for each channel apart, [B, T, C] -> [B, T, C], as a sum of shifted products.

    XLA's CPU backend runs grouped convolutions, and their gradients in loops, many times slower.
    """

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        super().__init__(width, width, TAPS, feature_group_count=width, use_bias=False, rngs=rngs)

    def __call__(self, x):
        padded = jnp.pad(x, ((0, 0), (TAPS // 2, TAPS // 2), (0, 0)))
        kernel = self.kernel[...][:, 0]
        return sum(padded[:, i : i + x.shape[1]] * kernel[i] for i in range(TAPS))


class Convolution(nnx.Module):
    """Pointwise product with a gated linear unit, depthwise convolution, normalisation, activation, pointwise product.

    `norm`: `batch` as in the paper, over real steps only, or `layer`.
    """

    def __init__(self, width: int, *, norm: str, activation, rngs: nnx.Rngs):
        self.activation = activation
        self.norm1 = nnx.LayerNorm(width, rngs=rngs)
        self.up, self.gate = Linear(width, width, rngs=rngs), Linear(width, width, rngs=rngs)
        self.depthwise = DepthwiseConv(width, rngs=rngs)
        if norm not in ("batch", "layer"):
            raise ValueError(f"norm must be 'batch' or 'layer', got {norm!r}")
        kind = {
            "batch": lambda: nnx.BatchNorm(width, momentum=0.9, rngs=rngs),
            "layer": lambda: nnx.LayerNorm(width, rngs=rngs),
        }
        self.norm2 = kind[norm]()
        self.down = Linear(width, width, rngs=rngs)

    def __call__(self, x, mask, *, train: bool):
        x = self.norm1(x)
        x = self.up(x) * jax.nn.sigmoid(self.gate(x))
        x = self.depthwise(jnp.where(mask[..., None], x, 0.0))
        if isinstance(self.norm2, nnx.BatchNorm):
            x = self.norm2(x, use_running_average=not train, mask=mask[..., None])
        else:
            x = self.norm2(x)
        return self.down(self.activation(x))


class Block(nnx.Module):
    """Half a perceptron, attention, convolution, half a perceptron, layer normalisation; [B, T, width] -> the same."""

    def __init__(self, width: int, *, head_dim: int, norm: str, activation, temperature: float, rngs: nnx.Rngs):
        self.mlp1_norm = nnx.LayerNorm(width, rngs=rngs)
        self.mlp1 = MLP(width, 4 * width, activation=activation, rngs=rngs)
        self.attention_norm = nnx.LayerNorm(width, rngs=rngs)
        self.attention = Attention(width, head_dim=head_dim, temperature=temperature, rngs=rngs)
        self.convolution = Convolution(width, norm=norm, activation=activation, rngs=rngs)
        self.mlp2_norm = nnx.LayerNorm(width, rngs=rngs)
        self.mlp2 = MLP(width, 4 * width, activation=activation, rngs=rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)

    def __call__(self, x, mask, *, train: bool, rate, key):
        keys = jax.random.split(key, 4) if train else (None,) * 4

        def dropped(y, own):
            return dropout(y, rate, own) if train else y

        x = x + 0.5 * dropped(self.mlp1(self.mlp1_norm(x)), keys[0])
        x = x + dropped(self.attention(self.attention_norm(x), mask=mask), keys[1])
        x = x + dropped(self.convolution(x, mask, train=train), keys[2])
        x = x + 0.5 * dropped(self.mlp2(self.mlp2_norm(x)), keys[3])
        return self.norm(x)


class Conformer(nnx.Module):
    """frames [B, T, bins], length [B] -> (logits [B, S, classes], steps [B]) with S = ceil(T / frames_per_step).

    Args:
      context: the most frames T; it sets the number of positions.
      width: of the stream, a multiple of `head_dim`; `depth` blocks.
      norm: `batch` or `layer`, within the convolution.
      temperature: factor on the attention's logits.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        *,
        context: int,
        width: int,
        depth: int,
        head_dim: int,
        frames_per_step: int,
        norm: str = "batch",
        activation=jax.nn.silu,
        temperature: float = 1.0,
        rngs: nnx.Rngs,
    ):
        self.frames_per_step = frames_per_step
        positions = -(-context // frames_per_step)
        self.stem = nnx.Linear(frames_per_step * bins, width, rngs=rngs)
        self.position = nnx.Param(nnx.initializers.normal(0.02)(rngs.params(), (positions, width)))
        self.blocks = nnx.List(
            Block(
                width,
                head_dim=head_dim,
                norm=norm,
                activation=activation,
                temperature=temperature,
                rngs=rngs,
            )
            for _ in range(depth)
        )
        self.readout = nnx.Linear(width, classes, kernel_init=nnx.initializers.normal(0.02), rngs=rngs)

    def __call__(self, frames, length, *, train: bool, rate, key):
        x, steps, mask = stack(frames, length, self.frames_per_step)
        x = self.stem(x) + self.position[: x.shape[1]]
        for i, block in enumerate(self.blocks):
            x = block(x, mask, train=train, rate=rate, key=jax.random.fold_in(key, i) if train else None)
        return self.readout(x), steps
