"""Batch norm's running statistics and the residual network's form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from algoperf_lite.models.adapter import network
from algoperf_lite.models.resnet import ResNet


def _net(width=4, **variant):
    return network(lambda rngs, width: ResNet(1, 10, width=width, depth=1, rngs=rngs, **variant), width, 4)


def _run(net):
    @jax.jit
    def train(params, state, x):
        return net.apply(params, state, x, train=True, rate=0.0, key=jax.random.key(0))

    @jax.jit
    def evaluate(params, state, x):
        return net.apply(params, state, x, train=False, rate=0.0, key=None)

    return train, evaluate


def test_running_statistics_converge_to_those_of_the_batch():
    net = _net()
    params, state = net.init(jax.random.key(0))
    params["readout"]["kernel"] = jax.random.normal(jax.random.key(2), params["readout"]["kernel"].shape)
    train, evaluate = _run(net)
    x = 2.0 + 3.0 * jax.random.normal(jax.random.key(1), (16, 12, 12, 1))
    before = evaluate(params, state, x)[0]
    for _ in range(150):  # .9**150 is 1e-7
        trained, state = train(params, state, x)
    evaluated, after = evaluate(params, state, x)
    np.testing.assert_allclose(evaluated, trained, rtol=1e-3, atol=1e-3)
    assert not np.allclose(before, trained, atol=0.1)
    jax.tree.map(np.testing.assert_array_equal, after, state)  # evaluation leaves them as they are


def test_momentum_is_nine_tenths():
    net = _net()
    params, state = net.init(jax.random.key(0))
    train, _ = _run(net)
    x = jax.random.normal(jax.random.key(1), (16, 12, 12, 1))
    stem = jax.lax.conv_general_dilated(
        x, params["stem"]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    mean, variance = jnp.mean(stem, (0, 1, 2)), jnp.var(stem, (0, 1, 2))
    for step in (1, 2, 3):
        _, state = train(params, state, x)
        kept = 0.9**step
        np.testing.assert_allclose(state["stem_norm"]["mean"], (1 - kept) * mean, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(state["stem_norm"]["var"], kept + (1 - kept) * variance, rtol=1e-4)


@pytest.mark.parametrize(("variant", "scale"), [({}, 1.0), ({"last_norm_scale": 8.0}, 8.0)])
def test_scale_of_the_last_norm(variant, scale):
    params, _ = _net(**variant).init(jax.random.key(0))
    for block in params["blocks"].values():
        assert np.all(block["norm1"]["scale"] == 1.0)
        assert np.all(block["norm2"]["scale"] == scale)


def test_activation_is_the_one_asked_for():
    x = jax.random.normal(jax.random.key(1), (4, 12, 12, 1))
    found = {}
    for name in ("relu", "gelu", "silu", "tanh"):
        net = _net(activation=name)
        params, state = net.init(jax.random.key(0))
        found[name] = np.asarray(_run(net)[0](params, state, x)[0])
    assert len({value.tobytes() for value in found.values()}) == 4
    default = _net()
    params, state = default.init(jax.random.key(0))
    np.testing.assert_array_equal(_run(default)[0](params, state, x)[0], found["relu"])
    with pytest.raises(KeyError, match="swish"):
        ResNet(1, 10, width=4, depth=1, activation="swish", rngs=nnx.Rngs(params=jax.random.key(0)))
