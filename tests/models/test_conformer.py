"""The Conformer: depthwise convolution, masked batch statistics, padding, parameter count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from algoperf_lite.models.adapter import network
from algoperf_lite.models.conformer import TAPS, Conformer, Convolution, DepthwiseConv

BINS, CLASSES, CONTEXT = 5, 4, 13


def _make(rngs, width, **arguments):
    arguments = {"context": CONTEXT, "depth": 2, "head_dim": 4, "frames_per_step": 2} | arguments
    return Conformer(BINS, CLASSES, width=width, rngs=rngs, **arguments)


def test_depthwise_convolution_is_the_grouped_one():
    ours = DepthwiseConv(6, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (2, 11, 6))
    expected = jax.lax.conv_general_dilated(
        x, ours.kernel[...], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"), feature_group_count=6
    )
    np.testing.assert_allclose(ours(x), expected, atol=1e-5)


def test_batch_statistics_are_those_of_real_steps():
    module = Convolution(6, norm="batch", activation=jax.nn.silu, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (2, 9, 6))
    mask = jnp.arange(9) < jnp.array([[9], [4]])
    hidden = module.norm1(x)
    hidden = module.up(hidden) * jax.nn.sigmoid(module.gate(hidden))
    hidden = module.depthwise(jnp.where(mask[..., None], hidden, 0.0))
    real = np.concatenate([hidden[0], hidden[1, :4]])
    module(x, mask, train=True)
    np.testing.assert_allclose(module.norm2.mean[...], 0.1 * real.mean(0), atol=1e-6)
    np.testing.assert_allclose(module.norm2.var[...], 0.9 + 0.1 * real.var(0), atol=1e-6)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_padding_has_no_influence(norm, train):
    net = network(lambda rngs, width: _make(rngs, width, norm=norm), 8, 8)
    params, state = net.init(jax.random.key(0))
    frames = np.random.default_rng(0).standard_normal((2, 9, BINS)).astype(np.float32)
    length, key = jnp.array([9, 5]), jax.random.key(1)

    def run(frames):
        (found, steps), new = net.apply(params, state, frames, length, train=train, rate=0.0, key=key)
        np.testing.assert_array_equal(steps, [5, 3])
        return np.asarray(found[0, :5]), np.asarray(found[1, :3]), *jax.tree.leaves(new)

    plain = run(frames)
    changed = frames.copy()
    changed[1, 5:] = 1e3
    longer = np.concatenate([changed, np.full((2, 4, BINS), 7, np.float32)], axis=1)
    for other in (changed, longer):
        for a, b in zip(plain, run(other), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6)
    real = frames.copy()
    real[1, 4] += 1
    assert np.abs(run(real)[1][0] - plain[1][0]).max() > 1e-6


def test_shapes_roles_and_parameters():
    net = network(_make, 8, 4)
    params, state = jax.eval_shape(net.init, jax.random.key(0))
    (logits, steps), _ = jax.eval_shape(
        lambda: net.apply(
            *net.init(jax.random.key(0)), jnp.zeros((3, 7, BINS)), jnp.array([7, 1, 4]), train=False, rate=0.0, key=None
        )
    )
    assert logits.shape == (3, 4, CLASSES)
    assert steps.shape == (3,)
    w = 8
    norms, mlps, attention, convolution = 6 * 2 * w, 2 * 8 * w * w, 4 * w * w, 3 * w * w + TAPS * w
    block = norms + mlps + attention + convolution
    expected = 2 * BINS * w + w + 7 * w + 2 * block + w * CLASSES + CLASSES
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected
    assert len(jax.tree.leaves(state)) == 4
    role = net.roles["blocks"]["0"]["convolution"]["depthwise"]["kernel"]
    assert (role.kind, role.fan_in, role.fan_out, role.base_fan_out) == ("depthwise", TAPS, 8, 4)
    assert net.roles["position"].kind == "position"
    assert net.roles["blocks"]["1"]["attention"]["out"]["kernel"].kind == "attention_out"


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="'batch' or 'layer', got 'group'"):
        _make(nnx.Rngs(0), 8, norm="group")


def test_variants_change_the_answer():
    plain, hot = (network(lambda rngs, width, t=t: _make(rngs, width, temperature=t), 8, 8) for t in (1.0, 4.0))
    params, state = plain.init(jax.random.key(0))
    frames, length = jax.random.normal(jax.random.key(1), (1, 9, BINS)), jnp.array([9])

    def logits(net):
        return net.apply(params, state, frames, length, train=False, rate=0.0, key=None)[0][0]

    assert np.abs(logits(plain) - logits(hot)).max() > 1e-4


def test_dropout_needs_its_rate():
    net = network(_make, 8, 8)
    params, state = net.init(jax.random.key(0))
    frames, length = jax.random.normal(jax.random.key(1), (1, 9, BINS)), jnp.array([9])

    def logits(rate, seed):
        return net.apply(params, state, frames, length, train=True, rate=rate, key=jax.random.key(seed))[0][0]

    np.testing.assert_array_equal(logits(0.0, 1), logits(0.0, 2))
    assert not np.array_equal(logits(0.5, 1), logits(0.5, 2))
