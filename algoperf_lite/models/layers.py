"""Layers that several models share: dropout, rotary embedding, attention, transformer block."""

import jax
import jax.numpy as jnp
from flax import nnx

_lecun = nnx.initializers.lecun_normal()


class Linear(nnx.Linear):
    """x [..., in] @ kernel [in, out], without bias, as one product of two matrices.

    XLA's CPU backend runs the batched forms [B, T, in] x [in, out], and above all their gradients, 1.5 to 2.4 times
    slower than the same numbers as [B T, in] x [in, out] (jax 0.10, one core).
    """

    def __init__(self, width_in: int, width_out: int, *, kernel_init=_lecun, rngs: nnx.Rngs):
        super().__init__(width_in, width_out, use_bias=False, kernel_init=kernel_init, rngs=rngs)

    def __call__(self, x):
        flat = x.reshape(-1, x.shape[-1]) @ self.kernel[...]
        return flat.reshape(*x.shape[:-1], flat.shape[-1])


def dropout(x, rate, key):
    """Dropout with a traced rate in [0, 1); at rate 0 exactly the identity.

    For x [B, ..., C] the mask is [B, 1.., C], shared over positions: the numbers for a whole mask would cost several
    per cent of a small model's step, whether or not the rate is 0.
    """
    keep = 1.0 - rate
    shape = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1])
    return jnp.where(jax.random.bernoulli(key, keep, shape), x / keep, 0.0)


def rotary(x, base: float = 10_000.0):
    """Rotary position embedding of x [B, T, heads, head_dim], halves as pairs (Su et al., arXiv 2104.09864)."""
    half = x.shape[-1] // 2
    angle = jnp.arange(x.shape[1])[:, None] * base ** (-jnp.arange(half) / half)
    cos, sin = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


class Attention(nnx.Module):
    """Softmax attention with `width // head_dim` heads; [B, T, width] -> [B, T, width].

    Args:
      causal: position t sees positions 0..t, by rotary embedding and a mask.
      qk_norm: RMS norm of queries and keys over head_dim (Henry et al., arXiv 2010.04245, with a learned scale).
      temperature: factor on the logits.
    """

    def __init__(
        self,
        width: int,
        *,
        head_dim: int,
        causal: bool = False,
        rotates: bool | None = None,
        qk_norm: bool = False,
        temperature: float = 1.0,
        rngs: nnx.Rngs,
    ):
        if width % head_dim:
            raise ValueError(f"width {width} is not a multiple of the head dimension {head_dim}")
        self.head_dim, self.causal, self.temperature = head_dim, causal, temperature
        self.rotates = causal if rotates is None else rotates
        self.query = Linear(width, width, rngs=rngs)
        self.key = Linear(width, width, rngs=rngs)
        self.value = Linear(width, width, rngs=rngs)
        self.out = Linear(width, width, rngs=rngs)
        self.query_norm = nnx.data(nnx.RMSNorm(head_dim, rngs=rngs)) if qk_norm else None
        self.key_norm = nnx.data(nnx.RMSNorm(head_dim, rngs=rngs)) if qk_norm else None

    def __call__(self, x, memory=None, mask=None):
        """`memory` [B, S, width]: what is attended to, x itself unless given. `mask` [B, S]: 0 where it is padding."""
        q = self.queries(x)
        k, v = self.keys_values(x if memory is None else memory)
        if self.rotates:
            q, k = rotary(q), rotary(k)
        visible = None if mask is None else mask[:, None, None, :] > 0
        if self.causal:
            t = jnp.arange(x.shape[1])
            earlier = t[:, None] >= t
            visible = earlier if visible is None else visible & earlier
        return self.attend(q, k, v, visible)

    def queries(self, x):
        """[B, T, width] -> [B, T, heads, head_dim], not yet rotated."""
        q = self._heads(self.query(x))
        return q if self.query_norm is None else self.query_norm(q)

    def keys_values(self, x):
        """[B, S, width] -> keys and values, [B, S, heads, head_dim] each, keys not yet rotated."""
        k, v = self._heads(self.key(x)), self._heads(self.value(x))
        return (k if self.key_norm is None else self.key_norm(k)), v

    def attend(self, q, k, v, visible=None):
        """`visible`: bool, broadcast to [B, heads, T, S]; every query must see something. -> [B, T, width]."""
        logits = jnp.einsum("bqhd,bkhd->bhqk", q * (self.temperature * self.head_dim**-0.5), k)
        if visible is not None:
            logits = jnp.where(visible, logits, -1e9)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits), v)
        return self.out(mixed.reshape(*mixed.shape[:2], -1))

    def _heads(self, x):
        return x.reshape(*x.shape[:2], -1, self.head_dim)


class MLP(nnx.Module):
    """Perceptron of one hidden layer, [..., width] -> [..., width]; `gated`: a GLU (Shazeer, arXiv 2002.05202)."""

    def __init__(self, width: int, hidden: int, *, gated: bool = False, activation=jax.nn.gelu, rngs: nnx.Rngs):
        self.activation = activation
        self.up = Linear(width, hidden, rngs=rngs)
        self.gate = nnx.data(Linear(width, hidden, rngs=rngs)) if gated else None
        self.down = Linear(hidden, width, rngs=rngs)

    def __call__(self, x):
        hidden = self.activation(self.up(x))
        return self.down(hidden if self.gate is None else hidden * self.gate(x))


class Block(nnx.Module):
    """Attention and a perceptron on a residual stream [B, T, width], normalised before or after each branch.

    The perceptron is 4 times as wide as the stream, a gated one 8/3 times, so that both have as many parameters.
    """

    def __init__(
        self,
        width: int,
        *,
        head_dim: int,
        causal: bool,
        qk_norm: bool = False,
        post_norm: bool = False,
        gated: bool = False,
        temperature: float = 1.0,
        rngs: nnx.Rngs,
    ):
        self.post_norm = post_norm
        self.norm1 = nnx.RMSNorm(width, rngs=rngs)
        self.attention = Attention(
            width, head_dim=head_dim, causal=causal, qk_norm=qk_norm, temperature=temperature, rngs=rngs
        )
        self.norm2 = nnx.RMSNorm(width, rngs=rngs)
        self.mlp = MLP(width, 8 * width // 3 if gated else 4 * width, gated=gated, rngs=rngs)

    def __call__(self, x, *, train: bool, rate, key):
        keys = jax.random.split(key) if train else (None, None)
        branches = (self.norm1, self.attention), (self.norm2, self.mlp)
        for (norm, branch), branch_key in zip(branches, keys, strict=True):
            y = branch(x if self.post_norm else norm(x))
            y = dropout(y, rate, branch_key) if train else y
            x = norm(x + y) if self.post_norm else x + y
        return x
