"""Averages of the iterates against their definitions, and what every wrapper leaves untouched."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from algoperf_lite import averaging

BUDGET = 100
WRAPPERS = {
    "polynomial_decay": (lambda inner: averaging.polynomial_decay(inner, 8.0), averaging.averaged_params),
    "ema": (lambda inner: averaging.ema(inner, 0.9), averaging.averaged_params),
    "ema_with_bias": (lambda inner: averaging.ema(inner, 0.9, debias=False), averaging.averaged_params),
    "lawa": (lambda inner: averaging.lawa(inner, 3, BUDGET), averaging.lawa_params),
}
wrapper = pytest.mark.parametrize("name", WRAPPERS)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def walk(wrap, read, steps=40):
    """(iterates, evaluation parameters) of a random walk, each [steps + 1, 3], the start first."""
    tx, moves = wrap(optax.identity()), np.random.default_rng(0).standard_normal((steps, 3))
    params = {"w": jnp.array([1.0, -2.0, 3.0])}
    state, update = tx.init(params), jax.jit(tx.update)
    seen = [(params["w"], read(state, params)["w"])]
    for move in moves:
        updates, state = update({"w": move}, state, params)
        params = optax.apply_updates(params, updates)
        seen.append((params["w"], read(state, params)["w"]))
    return tuple(map(np.stack, zip(*seen, strict=True)))


# ----------------------------------------------------------------------------------------------------- definitions


def test_polynomial_decay_of_alpha_zero_is_the_mean_of_the_iterates():
    iterates, averages = walk(lambda inner: averaging.polynomial_decay(inner, 0.0), averaging.averaged_params)
    for t in range(1, len(iterates)):
        np.testing.assert_allclose(averages[t], np.mean(iterates[1 : t + 1], axis=0), rtol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_ema_is_the_weighted_mean_of_the_iterates_alone(decay):
    iterates, averages = walk(lambda inner: averaging.ema(inner, decay), averaging.averaged_params)
    for t in range(1, len(iterates)):
        weights = (1 - decay) * decay ** np.arange(t)[::-1]
        np.testing.assert_allclose(averages[t], weights @ iterates[1 : t + 1] / np.sum(weights), rtol=1e-11)


def test_ema_with_bias_starts_at_the_initial_parameters():
    iterates, averages = walk(lambda inner: averaging.ema(inner, 0.8, debias=False), averaging.averaged_params)
    expected = iterates[0]
    for x, average in zip(iterates[1:], averages[1:], strict=True):
        expected = 0.8 * expected + 0.2 * x
        np.testing.assert_allclose(average, expected, rtol=1e-12)


@pytest.mark.parametrize(("k", "every", "start"), [(1, 1, 1), (4, 3, 1), (3, 2, 11), (5, 7, 7)])
def test_lawa_is_the_mean_of_the_latest_checkpoints_and_the_iterate_until_there_are_k(k, every, start):
    def wrap(inner):
        return averaging.lawa(inner, k, BUDGET, every_fraction=every / BUDGET, start_fraction=start / BUDGET)

    iterates, averages = walk(wrap, averaging.lawa_params)
    queue = collections.deque(maxlen=k)
    for t, (x, average) in enumerate(zip(iterates, averages, strict=True)):
        if t >= start and t % every == 0 and t > 0:
            queue.append(x)
        np.testing.assert_allclose(average, np.mean(queue, axis=0) if len(queue) == k else x, rtol=1e-12)


def test_lawa_of_one_checkpoint_is_the_base_run_at_its_checkpoints():
    def wrap(inner):
        return averaging.lawa(inner, 1, BUDGET, every_fraction=0.05, start_fraction=0.0)

    iterates, averages = walk(wrap, averaging.lawa_params)
    np.testing.assert_array_equal(averages[5::5], iterates[5::5])
    np.testing.assert_array_equal(averages[6::5], iterates[5:-1:5])


@pytest.mark.parametrize(
    ("fraction", "budget", "saved"),
    [(0.07, 100, 7), (0.002, 600, 24), (0.0, 600, 49), (1e-6, 600, 49)],  # every 7th (0.07 * 100 > 7), 2nd, 1st, 1st
)
def test_lawa_takes_fractions_of_the_budget_up_to_whole_steps(fraction, budget, saved):
    tx = averaging.lawa(optax.identity(), 2, budget, every_fraction=fraction, start_fraction=0.0)
    params, state = {"w": jnp.ones(3)}, tx.init({"w": jnp.ones(3)})
    update = jax.jit(tx.update)
    for _ in range(49):
        _, state = update(params, state, params)
    assert state.saved == saved


# ------------------------------------------------------------------------------------------------- of every wrapper


@wrapper
def test_constant_iterates_are_a_fixed_point(name):
    wrap, read = WRAPPERS[name]
    tx, params = wrap(optax.set_to_zero()), {"w": jnp.array([0.1, -0.7]), "s": jnp.array(1e-3)}
    state, update = tx.init(params), jax.jit(tx.update)
    for _ in range(20):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-15), read(state, params), params)
        _, state = update(params, state, params)


@wrapper
def test_training_is_untouched_and_extra_arguments_reach_the_base(name):
    def update(updates, state, params=None, *, value):
        return jax.tree.map(lambda u, p: -0.1 * value * u - 0.01 * p, updates, params), state + 1

    base = optax.GradientTransformationExtraArgs(lambda params: jnp.zeros([], jnp.int32), update)
    tx, params, grads = WRAPPERS[name][0](base), {"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([0.3, -0.2])}
    state, inner = tx.init(params), base.init(params)
    for _ in range(3):
        found, state = tx.update(grads, state, params, value=2.0)
        expected, inner = base.update(grads, inner, params, value=2.0)
        np.testing.assert_array_equal(found["w"], expected["w"])
    assert state.inner == inner == 3


@wrapper
def test_state_shares_no_buffer_with_the_parameters(name):
    params = {"w": jnp.ones(1000)}
    leaves = [params["w"], *jax.tree.leaves(WRAPPERS[name][0](optax.adam(0.1)).init(params))]
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


@wrapper
def test_average_has_the_parameters_types_whatever_they_are(name):
    wrap, read = WRAPPERS[name]
    params = {"w": jnp.ones((2, 3), jnp.bfloat16), "s": jnp.ones((), jnp.float32)}
    tx = wrap(optax.sgd(0.1))
    state = tx.init(params)
    updates, after = tx.update(params, state, params)
    assert jax.tree.map(jnp.result_type, after) == jax.tree.map(jnp.result_type, state)
    for tree in (updates, read(state, params), read(after, params)):
        assert jax.tree.map(jnp.result_type, tree) == jax.tree.map(jnp.result_type, params)


@wrapper
def test_update_without_parameters_is_refused(name):
    tx, params = WRAPPERS[name][0](optax.sgd(0.1)), {"w": jnp.ones(2)}
    with pytest.raises(ValueError, match=r"averaging needs the parameters: call update\(updates, state, params\)"):
        tx.update(params, tx.init(params))


def test_small_weights_do_not_round_away_in_low_precision():
    params = {"w": jnp.full(2, 128.0, jnp.bfloat16)}
    tx = averaging.ema(optax.set_to_zero(), 0.999, debias=False)
    state, update = tx.init({"w": jnp.full(2, 100.0, jnp.bfloat16)}), jax.jit(tx.update)
    for _ in range(1000):
        _, state = update(params, state, params)
    expected = 128 - 28 * 0.999**1000
    np.testing.assert_allclose(np.asarray(averaging.averaged_params(state, params)["w"], np.float32), expected, rtol=1e-2)


@pytest.mark.parametrize("k", [0, 2.0, "three"])
def test_number_of_checkpoints_that_is_none_is_refused(k):
    with pytest.raises(ValueError, match="k must be a whole number of checkpoints >= 1, got"):
        averaging.lawa(optax.sgd(0.1), k, BUDGET)
