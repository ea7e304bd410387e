"""Decoder-only transformer: RMS norm, rotary positions, GELU x4, no biases, untied readout."""

import jax
from flax import nnx

from algoperf_lite.models.layers import Block, Linear


class Transformer(nnx.Module):
    """Tokens [B, T] int -> logits [B, T, vocabulary]; position t sees tokens 0..t."""

    def __init__(
        self,
        vocabulary: int,
        *,
        width: int,
        depth: int,
        head_dim: int,
        embedding_sd: float,
        qk_norm: bool,
        post_norm: bool,
        gated: bool = False,
        temperature: float = 1.0,
        rngs: nnx.Rngs,
    ):
        normal = nnx.initializers.normal
        self.embed = nnx.Embed(vocabulary, width, embedding_init=normal(embedding_sd), rngs=rngs)
        self.blocks = nnx.List(
            Block(
                width,
                head_dim=head_dim,
                causal=True,
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
        self.readout = Linear(width, vocabulary, kernel_init=normal(0.02), rngs=rngs)

    def __call__(self, tokens, *, train: bool, rate, key):
        x = self.embed(tokens)
        for i, block in enumerate(self.blocks):
            x = block(x, train=train, rate=rate, key=jax.random.fold_in(key, i) if train else None)
        x = x if self.norm is None else self.norm(x)
        return self.readout(x)
