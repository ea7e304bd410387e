"""The LSTM against flax's cell, and the recurrent speech model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from algoperf_lite.models.adapter import network
from algoperf_lite.models.lstm import LSTM, SpeechLSTM, stack

BINS, CLASSES = 5, 4


def _make(rngs, width):
    return SpeechLSTM(BINS, CLASSES, width=width, depth=2, frames_per_step=2, rngs=rngs)


def _flax_states(layer, x):
    """Hidden states [T, width] of x [T, width_in] by flax's cell with the layer's weights."""
    width = layer.recurrent.get_value().shape[0]
    cell = nnx.OptimizedLSTMCell(x.shape[-1], width, rngs=nnx.Rngs(0))
    cell.dense_i.kernel[...] = layer.input.kernel[...]
    cell.dense_h.kernel[...] = layer.recurrent[...]
    cell.dense_h.bias[...] = layer.bias[...]
    carry, states = (jnp.zeros((1, width)), jnp.zeros((1, width))), []
    for row in x:
        carry, hidden = cell(carry, row[None])
        states.append(hidden[0])
    return jnp.stack(states)


@pytest.mark.parametrize("reverse", [False, True])
def test_lstm_is_flaxs_cell_over_the_real_steps(reverse):
    layer = LSTM(3, 4, reverse=reverse, rngs=nnx.Rngs(1))
    layer.bias[...] = jax.random.normal(jax.random.key(2), (16,))
    x = jax.random.normal(jax.random.key(3), (2, 6, 3))
    length = np.array([6, 4])
    found = layer(x, jnp.arange(6) < length[:, None])
    for row, n in enumerate(length):
        real = x[row, :n]
        expected = _flax_states(layer, real[::-1])[::-1] if reverse else _flax_states(layer, real)
        np.testing.assert_allclose(found[row, :n], expected, atol=1e-6)


def test_recurrent_kernel_starts_as_orthogonal_blocks():
    kernel = np.asarray(LSTM(3, 8, rngs=nnx.Rngs(0)).recurrent[...])
    for block in np.split(kernel, 4, axis=1):
        np.testing.assert_allclose(block @ block.T, np.eye(8), atol=1e-5)


def test_stacked_frames():
    frames = jnp.arange(1.0, 11.0).reshape(1, 5, 2)
    stacked, steps, mask = stack(frames, jnp.array([3]), 2)
    np.testing.assert_array_equal(stacked[0], [[1, 2, 3, 4], [5, 6, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(steps, [2])
    np.testing.assert_array_equal(mask, [[True, True, False]])


def test_padding_has_no_influence():
    net = network(_make, 8, 8)
    params, state = net.init(jax.random.key(0))
    frames = np.random.default_rng(0).standard_normal((2, 9, BINS)).astype(np.float32)
    length = jnp.array([9, 5])

    def logits(frames):
        (found, steps), _ = net.apply(params, state, frames, length, train=False, rate=0.0, key=None)
        np.testing.assert_array_equal(steps, [5, 3])
        return np.asarray(found[0, :5]), np.asarray(found[1, :3])

    plain = logits(frames)
    changed = frames.copy()
    changed[1, 5:] = 1e3
    longer = np.concatenate([changed, np.full((2, 4, BINS), 7, np.float32)], axis=1)
    for other in (changed, longer):
        for a, b in zip(plain, logits(other), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    real = frames.copy()
    real[1, 4] += 1  # the last real frame reaches the first step, through the backward direction
    assert np.abs(logits(real)[1][0] - plain[1][0]).max() > 1e-6


def test_shapes_roles_and_parameters():
    net = network(_make, 8, 4)
    (logits, steps), _ = jax.eval_shape(
        lambda: net.apply(
            net.init(jax.random.key(0))[0],
            {},
            jnp.zeros((3, 7, BINS)),
            jnp.array([7, 1, 4]),
            train=False,
            rate=0.0,
            key=None,
        )
    )
    assert logits.shape == (3, 4, CLASSES)
    assert steps.shape == (3,)
    w = 8
    block = 2 * (w * 4 * w + w * 4 * w + 4 * w) + 2 * w * w + 2 * w
    expected = 2 * BINS * w + w + 2 * w + 2 * block + w * w + w + w * CLASSES + CLASSES
    params = jax.eval_shape(net.init, jax.random.key(0))[0]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected
    role = net.roles["blocks"]["0"]["forward"]["recurrent"]
    assert (role.kind, role.fan_in, role.fan_out, role.base_fan_in) == ("recurrent", 8, 32, 4)
    assert net.roles["stem"]["kernel"].kind == "input"


def test_dropout_needs_its_rate():
    net = network(_make, 8, 8)
    params, state = net.init(jax.random.key(0))
    frames, length = jnp.ones((1, 6, BINS)), jnp.array([6])

    def logits(rate, seed):
        return net.apply(params, state, frames, length, train=True, rate=rate, key=jax.random.key(seed))[0][0]

    np.testing.assert_array_equal(logits(0.0, 1), logits(0.0, 2))
    assert not np.array_equal(logits(0.5, 1), logits(0.5, 2))
