"""The canonical convolution against JAX's own gradients."""

import jax
import numpy as np
import pytest
from jax import lax

from algoperf_lite.models.conv import _NHWC, canonical_conv2d


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(7, 6), (8, 5)])
@pytest.mark.parametrize("size", [1, 3])
def test_gradients_are_those_of_lax(shape, stride, padding, size):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *shape, 3), dtype=np.float32)
    w = rng.standard_normal((size, size, 3, 4), dtype=np.float32)
    pads = tuple(lax.padtype_to_pads(shape, (size, size), (stride, stride), padding))

    def plain(x, w):
        return lax.conv_general_dilated(x, w, (stride, stride), padding, dimension_numbers=_NHWC)

    def ours(x, w):
        return canonical_conv2d(x, w, stride, pads)

    @jax.jit
    def both(x, w):
        y, pull = jax.vjp(plain, x, w)
        z, our_pull = jax.vjp(ours, x, w)
        cotangent = jax.numpy.sin(jax.numpy.arange(y.size, dtype=np.float32)).reshape(y.shape)
        return (y, *pull(cotangent)), (z, *our_pull(cotangent))

    for theirs, mine in zip(*both(x, w), strict=True):
        if jax.default_backend() == "cpu":
            np.testing.assert_array_equal(mine, theirs)
        else:
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)
