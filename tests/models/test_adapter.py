"""NNX modules as pure functions, and the roles read from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from algoperf_lite.models import layers
from algoperf_lite.models.adapter import network
from algoperf_lite.models.resnet import ResNet


class Small(nnx.Module):
    """Linear layers in a list, batch norm, and an intermediate that is written on the way."""

    def __init__(self, width, rngs):
        self.layers = nnx.List([nnx.Linear(width, width, rngs=rngs) for _ in range(11)])
        self.norm = nnx.BatchNorm(width, rngs=rngs)

    def __call__(self, x, *, train):
        for layer in self.layers:
            x = layer(x)
        self.before_norm = nnx.Intermediate(x)
        return self.norm(x, use_running_average=not train)


@pytest.fixture(scope="module")
def small():
    return network(lambda rngs, width: Small(width, rngs), 4, 2)


def test_trees_are_nested_dicts_with_string_keys(small):
    params, state = small.init(jax.random.key(0))
    paths = jax.tree_util.tree_leaves_with_path((params, state))
    names = [entry.key for path, _ in paths for entry in path[1:]]
    assert all(isinstance(name, str) for name in names)
    assert set(params["layers"]) == {str(i) for i in range(11)}
    assert jax.tree.structure(params) == jax.tree.structure(small.roles)


def test_apply_is_pure(small):
    params, state = small.init(jax.random.key(0))
    before = jax.tree.map(np.array, (params, state))
    x = jnp.arange(12.0).reshape(3, 4)
    _, new = small.apply(params, state, x, train=True)
    jax.tree.map(np.testing.assert_array_equal, before, (params, state))
    assert jax.tree.structure(new) == jax.tree.structure(state)
    assert not np.array_equal(new["norm"]["mean"], state["norm"]["mean"])
    assert small.apply(params, state, x, train=False)[1]["norm"]["mean"] is not new["norm"]["mean"]


def test_list_entries_keep_their_order(small):
    params, state = small.init(jax.random.key(0))
    x = jnp.ones((2, 4))
    by_hand = x
    for i in range(11):
        layer = params["layers"][str(i)]
        by_hand = by_hand @ layer["kernel"] + layer["bias"]
    out, _ = small.apply(params, state, x, train=False)
    np.testing.assert_allclose(out, by_hand / np.sqrt(1 + 1e-5), rtol=1e-5, atol=1e-6)


def test_a_convolution_has_its_receptive_field_in_the_fan():
    net = network(lambda rngs, width: ResNet(1, 10, width=width, depth=1, rngs=rngs), 4, 8)
    role = net.roles["blocks"]["1"]["conv2"]["kernel"]
    assert (role.kind, role.fan_in, role.fan_out, role.base_fan_in, role.base_fan_out) == ("conv", 72, 8, 144, 16)
    assert net.roles["readout"]["kernel"].kind == "readout"
    assert net.roles["stem"]["kernel"].width_multiplier == 0.5


def test_a_parameter_without_a_role_is_an_error():
    class Odd(nnx.Module):
        def __init__(self, rngs):
            self.mystery = nnx.Param(jnp.ones((2, 2)))

    with pytest.raises(ValueError, match=r"no role for parameter mystery of Odd, \(2, 2\)"):
        network(lambda rngs, width: Odd(rngs), 4, 4)


def test_dropout():
    x = jax.random.normal(jax.random.key(1), (64, 3, 32))
    drop = jax.jit(layers.dropout)
    np.testing.assert_array_equal(drop(x, 0.0, jax.random.key(0)), x)
    a, b = drop(x, 0.3, jax.random.key(0)), drop(x, 0.3, jax.random.key(1))
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(a, drop(x, 0.3, jax.random.key(0)))
    dropped = np.asarray(a) == 0
    assert abs(dropped.mean() - 0.3) < 0.04
    assert np.array_equal(dropped.all(1), dropped.any(1))  # one mask for all positions
    np.testing.assert_allclose(np.asarray(a)[~dropped], np.asarray(x)[~dropped] / 0.7, rtol=1e-6)
