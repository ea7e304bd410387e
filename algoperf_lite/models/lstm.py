"""Bidirectional LSTM for speech (after Deep Speech 2, Amodei et al., arXiv 1512.02595) on stacked frames.

Frames beyond an utterance's end have no influence: they are zeroed before stacking, the recurrent state stands still on
them, and so the backward direction starts at the utterance's end.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from algoperf_lite.models.layers import Linear, dropout


def stack(frames, length, size: int):
    """[B, T, F] with lengths [B] -> ([B, ceil(T / size), size F], steps [B], step mask [B, S] bool); padding is 0."""
    batch, most, bins = frames.shape
    frames = jnp.where(jnp.arange(most)[:, None] < length[:, None, None], frames, 0.0)
    frames = jnp.pad(frames, ((0, 0), (0, -most % size), (0, 0)))
    stacked = frames.reshape(batch, -1, size * bins)
    steps = (length + size - 1) // size
    return stacked, steps, jnp.arange(stacked.shape[1]) < steps[:, None]


class LSTM(nnx.Module):
    """One direction: x [B, T, width_in], mask [B, T] bool -> hidden states [B, T, width].

    Gates in the order input, forget, cell, output; one bias (Hochreiter and Schmidhuber 1997, with the forget gate of Gers
    et al. 2000). Everything that does not depend on the state is one product before the loop over time. Where the mask is
    0 the state is carried on unchanged.
    """

    def __init__(self, width_in: int, width: int, *, reverse: bool = False, rngs: nnx.Rngs):
        self.reverse = reverse
        self.input = Linear(width_in, 4 * width, rngs=rngs)
        blocks = [nnx.initializers.orthogonal()(rngs.params(), (width, width)) for _ in range(4)]
        self.recurrent = nnx.Param(jnp.concatenate(blocks, axis=1))
        self.bias = nnx.Param(jnp.zeros(4 * width))

    def __call__(self, x, mask):
        given = (self.input(x) + self.bias[...]).swapaxes(0, 1)
        recurrent = self.recurrent[...]

        def step(state, inputs):
            hidden, cell = state
            gates, real = inputs
            i, f, g, o = jnp.split(gates + hidden @ recurrent, 4, axis=-1)
            new_cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            new_hidden = jax.nn.sigmoid(o) * jnp.tanh(new_cell)
            state = jnp.where(real, new_hidden, hidden), jnp.where(real, new_cell, cell)
            return state, state[0]

        zeros = jnp.zeros((x.shape[0], recurrent.shape[0]), x.dtype)
        _, hidden = jax.lax.scan(step, (zeros, zeros), (given, mask.T[..., None]), reverse=self.reverse)
        return hidden.swapaxes(0, 1)


class Block(nnx.Module):
    """Both directions, projected back to [B, T, width], on a residual stream with layer normalisation behind it."""

    def __init__(self, width: int, *, residual: bool, rngs: nnx.Rngs):
        self.residual = residual
        self.forward = LSTM(width, width, rngs=rngs)
        self.backward = LSTM(width, width, reverse=True, rngs=rngs)
        self.project = Linear(2 * width, width, rngs=rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)

    def __call__(self, x, mask, *, train: bool, rate, key):
        y = self.project(jnp.concatenate([self.forward(x, mask), self.backward(x, mask)], axis=-1))
        y = dropout(y, rate, key) if train else y
        return self.norm(x + y if self.residual else y)


class SpeechLSTM(nnx.Module):
    """frames [B, T, bins], length [B] -> (logits [B, S, classes], steps [B]) with S = ceil(T / frames_per_step).

    Args:
      width: of the stream and of each direction's state; `depth` blocks of two directions.
      activation: of the feed-forward layer before the readout.
      residual: whether blocks have a shortcut.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        *,
        width: int,
        depth: int,
        frames_per_step: int,
        activation=jax.nn.relu,
        residual: bool = True,
        rngs: nnx.Rngs,
    ):
        self.frames_per_step, self.activation = frames_per_step, activation
        self.stem = nnx.Linear(frames_per_step * bins, width, rngs=rngs)
        self.stem_norm = nnx.LayerNorm(width, rngs=rngs)
        self.blocks = nnx.List(Block(width, residual=residual, rngs=rngs) for _ in range(depth))
        self.hidden = nnx.Linear(width, width, rngs=rngs)
        self.readout = nnx.Linear(width, classes, kernel_init=nnx.initializers.normal(0.02), rngs=rngs)

    def __call__(self, frames, length, *, train: bool, rate, key):
        x, steps, mask = stack(frames, length, self.frames_per_step)
        x = self.stem_norm(self.stem(x))
        for i, block in enumerate(self.blocks):
            x = block(x, mask, train=train, rate=rate, key=jax.random.fold_in(key, i) if train else None)
        x = self.activation(self.hidden(x))
        x = dropout(x, rate, jax.random.fold_in(key, len(self.blocks))) if train else x
        return self.readout(x), steps
