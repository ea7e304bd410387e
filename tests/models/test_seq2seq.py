"""The encoder-decoder: what each position may see, and decoding with cached keys and values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algoperf_lite.data.parallel_text import BOS, EOS, PAD
from algoperf_lite.models.adapter import network
from algoperf_lite.models.seq2seq import Seq2Seq
from algoperf_lite.tasks import translation

SOURCE, TARGET, S, T = 13, 11, 7, 6
VARIANTS = ({}, {"post_norm": True}, {"temperature": 2.0}, {"gated": True, "activation": jnp.tanh})


@functools.cache
def _model(index=0):
    fields = {"depth": 2, "head_dim": 8, "embedding_sd": 1.0, **VARIANTS[index]}
    net = network(lambda rngs, width: Seq2Seq((SOURCE, TARGET), (S, T), width=width, rngs=rngs, **fields), 16, 16)
    params, state = net.init(jax.random.key(0))
    rng = np.random.default_rng(4)  # at the start the output hardly depends on the source
    params = jax.tree.map(lambda p: p + 0.1 * rng.standard_normal(p.shape, np.float32), params)
    for block in params["decoder"]["blocks"].values():
        block["cross"]["out"]["kernel"] *= 4
    params["readout"]["kernel"] *= 50  # argmax far from ties
    return net, params, state


@functools.cache
def _apply(index=0, search=None):
    net, params, state = _model(index)
    return jax.jit(
        lambda source, target: net.apply(params, state, source, target, train=False, rate=0.0, key=None, search=search)[0]
    )


def _pairs(size=5, seed=0):
    rng = np.random.default_rng(seed)
    source, target = rng.integers(3, SOURCE, (size, S)), rng.integers(3, TARGET, (size, T))
    source[np.arange(S) >= rng.integers(1, S + 1, (size, 1))] = PAD
    return source.astype(np.int32), target.astype(np.int32)


@pytest.mark.parametrize("index", range(len(VARIANTS)))
def test_a_future_token_cannot_change_the_past(index):
    source, target = _pairs()
    logits = _apply(index)(source, target)
    for t in range(T):
        changed = target.copy()
        changed[:, t] = 3 + (changed[:, t] - 2) % (TARGET - 3)
        moved = np.abs(_apply(index)(source, changed) - logits).max((0, 2))
        assert np.all(moved[:t] == 0)
        assert moved[t] > 1e-2


@pytest.mark.parametrize("index", range(len(VARIANTS)))
def test_padding_of_the_source_changes_nothing(index):
    net, params, state = _model(index)
    rng = np.random.default_rng(1)
    _, target = _pairs()
    short = rng.integers(3, SOURCE, (5, 4)).astype(np.int32)
    padded = np.pad(short, ((0, 0), (0, S - 4)), constant_values=PAD)
    logits = _apply(index)(padded, target)
    np.testing.assert_allclose(_apply(index)(short, target), logits, rtol=2e-5, atol=5e-4)
    other = jax.tree.map(jnp.array, params)
    other["encoder"]["embed"]["embedding"] = other["encoder"]["embed"]["embedding"].at[PAD].add(5.0)
    again = net.apply(other, state, padded, target, train=False, rate=0.0, key=None)[0]
    np.testing.assert_allclose(again, logits, rtol=2e-5, atol=5e-4)
    assert np.abs(_apply(index)(np.where(padded == PAD, 3, padded), target) - logits).max() > 1e-2


def test_every_source_token_is_seen():
    source, target = _pairs()
    source = np.where(source == PAD, 3, source)
    logits = _apply()(source, target)
    for s in range(S):
        changed = source.copy()
        changed[:, s] = 3 + (changed[:, s] - 2) % (SOURCE - 3)
        assert np.abs(_apply()(changed, target) - logits).max((1, 2)).min() > 1e-2


def _recomputed(index, source):
    """Greedy decoding without a cache."""
    tokens = np.full((len(source), T), PAD, np.int32)
    for t in range(T):
        logits = np.array(_apply(index)(source, translation.shifted(tokens))[:, t])
        logits[:, [PAD, BOS]] = -np.inf
        tokens[:, t] = logits.argmax(-1)
    after = np.cumsum(tokens == EOS, axis=1) - (tokens == EOS) > 0
    return np.where(after, PAD, tokens)


@pytest.mark.parametrize("index", range(len(VARIANTS)))
def test_cached_decoding_is_full_recomputation(index):
    source, target = _pairs(size=24, seed=2)
    search = functools.partial(translation.greedy, length=T)
    logits, decoded = _apply(index, search)(source, target)
    expected = _recomputed(index, source)
    np.testing.assert_array_equal(decoded, expected)
    np.testing.assert_allclose(logits, _apply(index)(source, target), rtol=1e-5, atol=5e-4)
    assert len(np.unique(expected, axis=0)) > 5


def test_cached_logits_are_those_of_the_whole_pass():
    source, target = _pairs()

    def replay(step, fixed, past):
        found = []
        for t in range(T):
            logits, past = step(fixed, past, target[:, t], t)
            found.append(logits)
        return jnp.stack(found, axis=1)

    logits, stepped = _apply(0, replay)(source, target)
    np.testing.assert_allclose(stepped, logits, rtol=2e-4, atol=5e-4)


def test_parameters_by_formula():
    """Embeddings, positions, 12 d^2 per encoder block, 16 d^2 per decoder block, two numbers per norm and unit, readout."""
    params, d = _model()[1], 16
    norms = 2 * d * (2 * 2 + 2 * 3 + 2)
    expected = (SOURCE + TARGET) * d + (S + T) * d + 2 * 12 * d**2 + 2 * 16 * d**2 + norms + TARGET * d
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


def test_roles():
    roles = _model()[0].roles
    block = roles["decoder"]["blocks"]["1"]
    assert [block["cross"][name]["kernel"].kind for name in ("query", "key", "value", "out")] == [
        "query",
        "key",
        "value",
        "attention_out",
    ]
    assert (block["cross_norm"]["scale"].kind, block["cross_norm"]["bias"].kind) == ("norm", "bias")
    assert roles["encoder"]["position"].kind == "position"
    assert roles["encoder"]["embed"]["embedding"].kind == "embedding"
    assert roles["readout"]["kernel"].kind == "readout"


def test_dropout_needs_training():
    net, params, state = _model()
    source, target = _pairs()
    run = functools.partial(net.apply, params, state, source, target)
    plain = run(train=False, rate=0.5, key=None)[0]
    np.testing.assert_array_equal(run(train=True, rate=0.0, key=jax.random.key(1))[0], plain)
    assert np.abs(run(train=True, rate=0.5, key=jax.random.key(1))[0] - plain).max() > 1e-2
