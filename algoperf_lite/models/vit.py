"""Vision transformer (Dosovitskiy et al., arXiv 2010.11929) for small images: mean pool, learned positions."""

import jax
import jax.numpy as jnp
from flax import nnx

from algoperf_lite.models.layers import Block, Linear


class ViT(nnx.Module):
    """Images [B, size, size, channels] -> logits [B, classes]; the readout starts at zero."""

    def __init__(
        self,
        size: int,
        patch: int,
        channels: int,
        classes: int,
        *,
        width: int,
        depth: int,
        head_dim: int,
        qk_norm: bool,
        post_norm: bool,
        gated: bool = False,
        temperature: float = 1.0,
        rngs: nnx.Rngs,
    ):
        self.patch = patch
        tokens = (size // patch) ** 2
        self.patches = Linear(patch * patch * channels, width, rngs=rngs)
        self.position = nnx.Param(nnx.initializers.normal(0.2)(rngs.params(), (tokens, width)))
        self.blocks = nnx.List(
            Block(
                width,
                head_dim=head_dim,
                causal=False,
                qk_norm=qk_norm,
                post_norm=post_norm,
                gated=gated,
                temperature=temperature,
                rngs=rngs,
            )
            for _ in range(depth)
        )
        # A block with its norms behind the branches has normalised already.
        self.norm = None if post_norm else nnx.data(nnx.RMSNorm(width, rngs=rngs))
        self.readout = nnx.Linear(width, classes, kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, x, *, train: bool, rate, key):
        batch, height, width, channels = x.shape
        p = self.patch
        x = x.reshape(batch, height // p, p, width // p, p, channels).transpose(0, 1, 3, 2, 4, 5)
        x = self.patches(x.reshape(batch, -1, p * p * channels)) + self.position
        for i, block in enumerate(self.blocks):
            x = block(x, train=train, rate=rate, key=jax.random.fold_in(key, i) if train else None)
        x = x if self.norm is None else self.norm(x)
        return self.readout(jnp.mean(x, axis=1))
