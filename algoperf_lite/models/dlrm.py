"""Deep learning recommendation model (Naumov et al., arXiv 1906.00091): embeddings, pairwise products, two perceptrons."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from algoperf_lite.models.layers import dropout


class Dense(nnx.Module):
    """Dense layer, LayerNorm where asked for, ReLU, dropout; `residual`: the input is added where it has the same width."""

    def __init__(self, width_in: int, width: int, *, norm: bool, residual: bool = False, rngs: nnx.Rngs):
        self.residual = residual and width_in == width
        self.linear = nnx.Linear(width_in, width, kernel_init=nnx.initializers.he_normal(), rngs=rngs)
        self.norm = nnx.data(nnx.LayerNorm(width, rngs=rngs)) if norm else None

    def __call__(self, x, rate=0.0, key=None):
        y = self.linear(x)
        y = jax.nn.relu(y if self.norm is None else self.norm(y))
        y = y if key is None else dropout(y, rate, key)
        return x + y if self.residual else y


class DLRM(nnx.Module):
    """Categories [B, F] and dense features [B, D] -> logits [B].

    The dense features become one more vector by the bottom perceptron (4 width hidden units); the top perceptron sees
    it and the products of all pairs of vectors. `depth` hidden layers lie in the top one, 8 width units each but 4 width
    in the last; with `residual` all have 8 width and add their input.

    Args:
      fields: number of values of each categorical field; all lie in one embedding table.
      width: of the embedding vectors.
    """

    def __init__(
        self,
        fields: Sequence[int],
        dense: int,
        *,
        width: int,
        depth: int,
        embedding_sd: float = 0.25,
        norm: bool = False,
        residual: bool = False,
        rngs: nnx.Rngs,
    ):
        self.offsets = tuple(np.cumsum((0, *fields[:-1])).tolist())
        self.embed = nnx.Embed(sum(fields), width, embedding_init=nnx.initializers.normal(embedding_sd), rngs=rngs)
        self.stem = Dense(dense, 4 * width, norm=norm, rngs=rngs)
        self.bottom = Dense(4 * width, width, norm=norm, rngs=rngs)
        vectors = len(fields) + 1
        widths = [width + vectors * (vectors - 1) // 2, *[8 * width] * depth]
        if not residual:
            widths[-1] = 4 * width
        self.blocks = nnx.List(Dense(a, b, norm=norm, residual=residual, rngs=rngs) for a, b in itertools.pairwise(widths))
        self.readout = nnx.Linear(widths[-1], 1, kernel_init=nnx.initializers.normal(0.02), rngs=rngs)

    def __call__(self, categories, dense, *, train: bool, rate, key):
        vector = self.bottom(self.stem(dense))
        embedded = self.embed(categories.astype(jnp.int32) + jnp.asarray(self.offsets))
        vectors = jnp.concatenate([vector[:, None], embedded], axis=1)
        products = jnp.einsum("bfd,bgd->bfg", vectors, vectors)
        first, second = np.triu_indices(vectors.shape[1], 1)
        x = jnp.concatenate([vector, products[:, first, second]], axis=-1)
        for i, block in enumerate(self.blocks):
            x = block(x, rate, jax.random.fold_in(key, i) if train else None)
        return self.readout(x)[:, 0]
