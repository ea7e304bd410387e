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

    `qk_norm`: RMS norm of queries and keys over head_dim (Henry et al., arXiv 2010.04245, with a learned scale).
    """

    def __init__(self, width: int, *, head_dim: int, causal: bool, qk_norm: bool, rngs: nnx.Rngs):
        if width % head_dim:
            raise ValueError(f"width {width} is not a multiple of the head dimension {head_dim}")
        self.head_dim, self.causal = head_dim, causal
        self.query = Linear(width, width, rngs=rngs)
        self.key = Linear(width, width, rngs=rngs)
        self.value = Linear(width, width, rngs=rngs)
        self.out = Linear(width, width, rngs=rngs)
        self.query_norm = nnx.data(nnx.RMSNorm(head_dim, rngs=rngs)) if qk_norm else None
        self.key_norm = nnx.data(nnx.RMSNorm(head_dim, rngs=rngs)) if qk_norm else None

    def __call__(self, x):
        heads = (*x.shape[:2], -1, self.head_dim)
        q, k, v = (f(x).reshape(heads) for f in (self.query, self.key, self.value))
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        if self.causal:
            q, k = rotary(q), rotary(k)
        logits = jnp.einsum("bqhd,bkhd->bhqk", q * self.head_dim**-0.5, k)
        if self.causal:
            t = jnp.arange(x.shape[1])
            logits = jnp.where(t[:, None] >= t, logits, -1e9)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits), v)
        return self.out(mixed.reshape(x.shape))


class Block(nnx.Module):
    """Attention and a 4x GELU perceptron on a residual stream [B, T, width], normalised before or after each branch."""

    def __init__(
        self, width: int, *, head_dim: int, causal: bool, qk_norm: bool = False, post_norm: bool = False, rngs: nnx.Rngs
    ):
        self.post_norm = post_norm
        self.norm1 = nnx.RMSNorm(width, rngs=rngs)
        self.attention = Attention(width, head_dim=head_dim, causal=causal, qk_norm=qk_norm, rngs=rngs)
        self.norm2 = nnx.RMSNorm(width, rngs=rngs)
        self.up = Linear(width, 4 * width, rngs=rngs)
        self.down = Linear(4 * width, width, rngs=rngs)

    def __call__(self, x, *, train: bool, rate, key):
        keys = jax.random.split(key) if train else (None, None)
        branches = (self.norm1, self.attention), (self.norm2, lambda y: self.down(jax.nn.gelu(self.up(y))))
        for (norm, branch), branch_key in zip(branches, keys, strict=True):
            y = branch(x if self.post_norm else norm(x))
            y = dropout(y, rate, branch_key) if train else y
            x = norm(x + y) if self.post_norm else x + y
        return x
