"""Encoder-decoder transformer (Vaswani et al., arXiv 1706.03762) with layer norm, learned positions, untied embeddings."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from algoperf_lite.models.layers import MLP, Attention, Linear, dropout

_normal = nnx.initializers.normal


class Block(nnx.Module):
    """Self-attention, in a decoder attention to the source, and a perceptron, on a residual stream [B, T, width]."""

    def __init__(
        self,
        width: int,
        *,
        head_dim: int,
        decodes: bool,
        temperature: float,
        post_norm: bool,
        gated: bool,
        activation,
        rngs: nnx.Rngs,
    ):
        self.post_norm = post_norm
        attention = functools.partial(
            Attention, width, head_dim=head_dim, rotates=False, temperature=temperature, rngs=rngs
        )
        self.norm1 = nnx.LayerNorm(width, rngs=rngs)
        self.attention = attention(causal=decodes)
        self.cross_norm = nnx.data(nnx.LayerNorm(width, rngs=rngs)) if decodes else None
        self.cross = nnx.data(attention()) if decodes else None
        self.norm2 = nnx.LayerNorm(width, rngs=rngs)
        self.mlp = MLP(width, 8 * width // 3 if gated else 4 * width, gated=gated, activation=activation, rngs=rngs)

    def __call__(self, x, mask, memory=None, *, rate, key):
        """`mask` [B, S]: 0 at padding of the source. `memory` [B, S, width]: of the encoder. No dropout without a key."""
        keys = jax.random.split(key, 3) if key is not None else (None,) * 3
        if self.cross is None:
            x = self._add(x, self.norm1, lambda h: self.attention(h, mask=mask), rate, keys[0])
        else:
            x = self._add(x, self.norm1, self.attention, rate, keys[0])
            cross = functools.partial(self.cross, memory=memory, mask=mask)
            x = self._add(x, self.cross_norm, cross, rate, keys[1])
        return self._add(x, self.norm2, self.mlp, rate, keys[2])

    def step(self, x, position, past, memory, visible):
        """One position [B, 1, width] of a decoder -> (x, past with this position's keys and values).

        `past`, `memory`: pairs of keys and values [B, *, heads, head_dim]; `visible` [B, S]: 0 at padding of the source.
        """

        def attend(h):
            nonlocal past
            k, v = (
                jax.lax.dynamic_update_slice_in_dim(cache, new, position, axis=1)
                for cache, new in zip(past, self.attention.keys_values(h), strict=True)
            )
            past = k, v
            return _attend_one(self.attention, h, k, v, jnp.arange(k.shape[1]) <= position)

        def cross(h):
            k, v = memory
            return _attend_one(self.cross, h, k, v, visible)

        x = self._add(x, self.norm1, attend)
        x = self._add(x, self.cross_norm, cross)
        return self._add(x, self.norm2, self.mlp), past

    def _add(self, x, norm, branch, rate=0.0, key=None):
        y = branch(x if self.post_norm else norm(x))
        y = y if key is None else dropout(y, rate, key)
        return norm(x + y) if self.post_norm else x + y


def _attend_one(attention, x, k, v, visible):
    """`Attention` for one query a row, x [B, 1, width]; `visible` broadcasts to [B, T].

    By products and sums of elements: XLA's CPU backend takes 1.7 times as long for products of such small matrices.
    """
    q = attention.queries(x) * (attention.temperature * attention.head_dim**-0.5)
    logits = jnp.where(visible[..., None], jnp.sum(q * k, axis=-1), -1e9)
    mixed = jnp.sum(jax.nn.softmax(logits, axis=1)[..., None] * v, axis=1)
    return attention.out(mixed.reshape(x.shape))


class Stack(nnx.Module):
    """Embedding, positions and blocks of one language; tokens [B, T] -> [B, T, width], T up to `length`."""

    def __init__(self, vocabulary: int, length: int, width: int, depth: int, embedding_sd: float, rngs: nnx.Rngs, **block):
        self.embed = nnx.Embed(vocabulary, width, embedding_init=_normal(embedding_sd), rngs=rngs)
        self.position = nnx.Param(_normal(0.02)(rngs.params(), (length, width)))
        self.blocks = nnx.List(Block(width, rngs=rngs, **block) for _ in range(depth))
        # A block with its norms behind the branches has normalised already.
        self.norm = None if block["post_norm"] else nnx.data(nnx.LayerNorm(width, rngs=rngs))

    def __call__(self, tokens, mask, memory=None, *, rate, key):
        x = self.embed(tokens) + self.position[: tokens.shape[1]]
        for i, block in enumerate(self.blocks):
            x = block(x, mask, memory, rate=rate, key=None if key is None else jax.random.fold_in(key, i))
        return self.finish(x)

    def finish(self, x):
        """Behind the last block."""
        return x if self.norm is None else self.norm(x)


class Seq2Seq(nnx.Module):
    """Source [B, S] and the target so far [B, T], int -> logits [B, T, vocabulary] of the target's next tokens.

    Position t of the target sees the unpadded source (token 0 is padding) and tokens 0..t of the target.

    Args:
      vocabularies, lengths: of source and target.
      depth: blocks of the encoder, and of the decoder.
      temperature: factor on the logits of every attention.
      gated: the perceptron is a GLU with `activation` on its first half.
    """

    def __init__(
        self,
        vocabularies: tuple[int, int],
        lengths: tuple[int, int],
        *,
        width: int,
        depth: int,
        head_dim: int,
        embedding_sd: float,
        temperature: float = 1.0,
        post_norm: bool = False,
        gated: bool = False,
        activation=jax.nn.relu,
        rngs: nnx.Rngs,
    ):
        stack = functools.partial(
            Stack,
            width=width,
            depth=depth,
            embedding_sd=embedding_sd,
            rngs=rngs,
            head_dim=head_dim,
            temperature=temperature,
            post_norm=post_norm,
            gated=gated,
            activation=activation,
        )
        self.encoder = stack(vocabularies[0], lengths[0], decodes=False)
        self.decoder = stack(vocabularies[1], lengths[1], decodes=True)
        self.readout = Linear(width, vocabularies[1], kernel_init=_normal(0.02), rngs=rngs)

    def __call__(self, source, target, *, train: bool, rate, key, search=None):
        """`search(step, fixed, past)` decodes beside, from the same encoding; then the outputs are (logits, its result).

        `step(fixed, past, tokens [N], position) -> (logits [N, vocabulary], past)` reads one token of each of N hypotheses;
        `fixed` and `past` (keys and values of source and target) lead with the axis of the B sources.
        """
        encoder_key, decoder_key = jax.random.split(key) if train else (None, None)
        mask = source > 0
        memory = self.encoder(source, mask, rate=rate, key=encoder_key)
        logits = self.readout(self.decoder(target, mask, memory, rate=rate, key=decoder_key))
        if search is None:
            return logits
        blocks, length = self.decoder.blocks, self.decoder.position.shape[0]
        fixed = mask, [block.cross.keys_values(memory) for block in blocks]  # pyright: ignore[reportOptionalMemberAccess]
        empty = jnp.zeros((source.shape[0], length, *fixed[1][0][0].shape[2:]))
        return logits, search(self._step, fixed, [(empty, empty) for _ in blocks])

    def _step(self, fixed, past, tokens, position):
        mask, memories = fixed
        x = self.decoder.embed(tokens[:, None]) + jax.lax.dynamic_slice_in_dim(self.decoder.position[...], position, 1)
        new = []
        for block, before, memory in zip(self.decoder.blocks, past, memories, strict=True):
            x, after = block.step(x, position, before, memory, mask)
            new.append(after)
        return self.readout(self.decoder.finish(x))[:, 0], new
