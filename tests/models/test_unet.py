"""The U-Net's parts against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from algoperf_lite.models import unet
from algoperf_lite.models.adapter import network


def _net(width=4, depth=2, **variant):
    return network(lambda rngs, width: unet.UNet(width=width, depth=depth, rngs=rngs, **variant), width, 8)


def _count(width, depth):
    """Two 3x3 convolutions a level on either side, a 2x2 transposed one a pool, a 1x1 head with a bias."""
    channels = [width * 2**level for level in range(depth + 1)]
    down = sum(9 * (before + after) * after for before, after in zip([1, *channels[:-1]], channels, strict=True))
    up = sum(4 * 2 * c * c + 9 * (2 * c + c) * c for c in channels[:-1])
    return down + up + width + 1


@pytest.mark.parametrize(("width", "depth"), [(8, 2), (4, 1), (6, 3)])
def test_parameters_by_formula(width, depth):
    params, state = jax.eval_shape(_net(width, depth).init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == _count(width, depth)
    assert not jax.tree.leaves(state)
    assert _count(8, 2) == 29_137


def test_up_is_a_transposed_convolution():
    up = unet.Up(6, 3, nnx.Rngs(params=jax.random.key(0)))
    x = jax.random.normal(jax.random.key(1), (2, 4, 5, 6))
    kernel = up.cells.kernel[...].reshape(6, 2, 2, 3).transpose(1, 2, 0, 3)
    # lax correlates the dilated input with its kernel: a turned one makes it the transpose of a convolution.
    theirs = lax.conv_transpose(x, kernel[::-1, ::-1], (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    assert up(x).shape == (2, 8, 10, 3)
    np.testing.assert_allclose(up(x), theirs, rtol=1e-5, atol=1e-5)


def test_norms():
    x = 3.0 + 2.0 * jax.random.normal(jax.random.key(0), (3, 8, 8, 5)) * jnp.arange(1.0, 6.0)
    per_channel = np.asarray(unet.instance_norm(x))
    np.testing.assert_allclose(per_channel.mean((1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(per_channel.std((1, 2)), 1.0, rtol=1e-4)
    per_image = np.asarray(unet.LayerNorm(5, nnx.Rngs(params=jax.random.key(0)))(x))
    np.testing.assert_allclose(per_image.mean((1, 2, 3)), 0.0, atol=1e-5)
    np.testing.assert_allclose(per_image.std((1, 2, 3)), 1.0, rtol=1e-4)
    assert np.std(per_image.std((1, 2))) > 0.1  # channels keep their sizes among each other
    np.testing.assert_allclose(unet.pool(x)[1, 2, 3, 4], np.mean(x[1, 4:6, 6:8, 4]), rtol=1e-6)


@pytest.mark.parametrize("variant", [{}, {"norm": "layer"}, {"activation": "gelu"}])
def test_examples_do_not_meet(variant):
    net = _net(**variant)
    params, state = net.init(jax.random.key(0))
    apply = jax.jit(lambda x: net.apply(params, state, x, train=False, rate=0.0, key=None)[0])
    x = np.random.default_rng(0).standard_normal((3, 16, 12, 1)).astype(np.float32)
    changed = x.copy()
    changed[1] += 1.0 + x[0]
    out, other = np.asarray(apply(x)), np.asarray(apply(changed))
    assert out.shape == x.shape
    np.testing.assert_allclose(out[[0, 2]], other[[0, 2]], rtol=1e-5, atol=1e-6)
    assert not np.allclose(out[1], other[1], atol=1e-4)


def test_roles():
    roles = _net(norm="layer").roles
    first = roles["down"]["0"]["stem"]["kernel"]
    assert (first.kind, first.fan_in, first.fan_out) == ("input", 9, 4)
    assert first.width_multiplier == 0.5
    assert roles["down"]["1"]["conv1"]["kernel"].kind == "conv"
    cells = roles["up"]["0"]["cells"]["kernel"]
    assert (cells.kind, cells.fan_in, cells.fan_out) == ("matrix", 16, 4 * 8)
    assert roles["readout"]["kernel"].kind == "readout"
    assert roles["after_up"]["0"]["norm"]["scale"].kind == "norm"


def test_dropout_follows_key_and_rate():
    net = _net()
    params, state = net.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 1))

    @jax.jit
    def run(rate, key):
        return net.apply(params, state, x, train=True, rate=rate, key=key)[0]

    plain = net.apply(params, state, x, train=False, rate=0.0, key=None)[0]
    np.testing.assert_allclose(run(0.0, jax.random.key(0)), plain, rtol=1e-4, atol=1e-5)
    assert not np.allclose(run(0.3, jax.random.key(0)), run(0.3, jax.random.key(1)))
