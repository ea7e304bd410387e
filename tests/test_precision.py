"""The wrapper of every submission: wide inside, the caller's types outside, buffers of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from algoperf_lite import precision


def types(tree):
    return {str(x.dtype) for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_parameters_have_wide_state_and_narrow_updates(dtype):
    params = {"w": jnp.ones((2, 3), dtype), "s": jnp.ones((), "float32")}
    tx = precision.at_least_float32(optax.adam(0.1))
    state = tx.init(params)
    updates, after = tx.update(params, state, params)
    assert types(state) == types(after) == {"float32"}
    assert jax.tree.map(lambda u: u.dtype, updates) == jax.tree.map(lambda p: p.dtype, params)


def test_wider_types_are_left_as_they_are_and_change_nothing():
    with jax.enable_x64(True):
        params = {"w": jnp.linspace(0.1, 1.0, 5)}
        plain, wrapped = optax.adam(0.1), precision.at_least_float32(optax.adam(0.1))
        found = [tx.update(params, tx.init(params), params)[0]["w"] for tx in (plain, wrapped)]
        assert found[0].dtype == found[1].dtype == jnp.float64
        np.testing.assert_array_equal(*found)


def test_a_sum_of_equal_terms_grows_beside_bfloat16_parameters_and_stops_without_the_wrapper():
    total = optax.GradientTransformation(
        lambda params: jnp.zeros_like(params), lambda updates, state, params=None: (updates, state + updates)
    )
    params, sums = jnp.ones((), jnp.bfloat16), {}
    for name, tx in (("plain", optax.with_extra_args_support(total)), ("wrapped", precision.at_least_float32(total))):
        state = tx.init(params)
        for _ in range(1000):
            _, state = tx.update(params, state, params)
        sums[name] = float(state)
    assert sums == {"plain": 256.0, "wrapped": 1000.0}


def test_state_that_is_the_parameters_has_buffers_of_its_own():
    keeps = optax.GradientTransformation(
        lambda params: (params, params), lambda updates, state, params=None: (updates, state)
    )
    params = jnp.ones(3)
    leaves = [params, *precision.at_least_float32(keeps).init(params)]
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == 3


def test_extra_arguments_and_missing_parameters_are_passed_on():
    seen = {}

    def update(updates, state, params=None, **extra):
        seen.update(extra, params=params)
        return updates, state

    tx = precision.at_least_float32(optax.GradientTransformationExtraArgs(lambda params: (), update))
    tx.update(jnp.ones(2), (), value=3.0)
    assert seen == {"value": 3.0, "params": None}
