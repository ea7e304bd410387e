"""2-D convolution whose gradients stay fast inside loops on the CPU.

XLA's CPU backend brings a convolution into its fast form only in a program's entry computation. JAX's own backward
convolutions have other dimension orders than NHWC x HWIO, so within `scan`, `cond` or `map` they fall to naive loops, 5
to 14 times slower. Here both backward passes are NHWC x HWIO convolutions around explicit transposes; the gradients are
bit-equal to JAX's.
"""

import functools

import jax
from jax import lax

_NHWC = ("NHWC", "HWIO", "NHWC")


def conv2d(x, w, stride: int = 1, padding: str = "SAME"):
    """Convolution of x [B, H, W, C_in] with w [kh, kw, C_in, C_out] -> [B, H', W', C_out].

    On the CPU the canonical form of this file, elsewhere plain `lax`; chosen when the program is traced.
    """
    pads = tuple(lax.padtype_to_pads(x.shape[1:3], w.shape[:2], (stride, stride), padding))
    if jax.default_backend() == "cpu":
        return canonical_conv2d(x, w, stride, pads)
    return _conv(x, w, (stride, stride), pads)


def for_nnx(x, w, window_strides, padding, *, dimension_numbers, lhs_dilation, rhs_dilation, feature_group_count, **_):
    """`conv2d` in the shape of the `conv_general_dilated=` hook of `flax.nnx.Conv`."""
    if feature_group_count != 1 or set(lhs_dilation) | set(rhs_dilation) != {1} or len(set(window_strides)) != 1:
        raise NotImplementedError("conv2d has neither groups nor dilation, and one stride for both axes")
    return conv2d(x, w, window_strides[0], padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def canonical_conv2d(x, w, stride: int, pads: tuple[tuple[int, int], tuple[int, int]]):
    """As `conv2d`, with explicit padding (low, high) per spatial axis, and canonical gradients on every backend."""
    return _conv(x, w, (stride, stride), pads)


def _forward(x, w, stride, pads):
    return canonical_conv2d(x, w, stride, pads), (x, w)


def _backward(stride, pads, saved, dy):
    x, w = saved
    sizes = list(zip(x.shape[1:3], w.shape[:2], dy.shape[1:3], pads, strict=True))
    spread = [(out - 1) * stride + 1 for _, _, out, _ in sizes]  # extent of dy once dilated by the stride
    # dx: dilated dy with the flipped kernel, padded so that the result has the size of x.
    dx_pads = [(k - 1 - low, size + low - s) for (size, k, _, (low, _)), s in zip(sizes, spread, strict=True)]
    flipped = w[::-1, ::-1].transpose(0, 1, 3, 2)
    dx = _conv(dy, flipped, (1, 1), dx_pads, lhs_dilation=(stride, stride))
    # dw: channels as batch, batch as channels; dy is the kernel, dilated by the stride. What of x lies beyond the last
    # window (uneven sizes, stride 2) is cut by negative padding.
    dw_pads = [(low, k - 1 + s - size - low) for (size, k, _, (low, _)), s in zip(sizes, spread, strict=True)]
    dw = _conv(x.transpose(3, 1, 2, 0), dy.transpose(1, 2, 0, 3), (1, 1), dw_pads, rhs_dilation=(stride, stride))
    return dx, dw.transpose(1, 2, 0, 3)


canonical_conv2d.defvjp(_forward, _backward)


def _conv(x, w, strides, pads, **dilation):
    return lax.conv_general_dilated(x, w, strides, pads, dimension_numbers=_NHWC, **dilation)
