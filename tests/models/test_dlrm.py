"""The recommendation model: its size, its products, its roles."""

import jax
import numpy as np
import pytest

from algoperf_lite.models.adapter import network
from algoperf_lite.models.dlrm import DLRM

FIELDS, DENSE = (3, 5, 2), 4


def _model(fields=FIELDS, dense=DENSE, width=4, depth=2, **variant):
    return network(lambda rngs, w: DLRM(fields, dense, width=w, depth=depth, rngs=rngs, **variant), width, width)


def _count(net):
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0))[0]))


def test_number_of_parameters():
    assert _count(_model((10, 20, 50, 100, 200, 500, 1000, 2000), width=16)) == 78_545
    w, pairs = 4, 6
    bottom = (DENSE + 1) * 4 * w + (4 * w + 1) * w
    assert _count(_model()) == 10 * w + bottom + (w + pairs + 1) * 8 * w + (8 * w + 1) * 4 * w + 4 * w + 1
    three = (w + pairs + 1) * 8 * w + 2 * (8 * w + 1) * 8 * w + 8 * w + 1
    assert _count(_model(depth=3, residual=True)) == 10 * w + bottom + three
    assert _count(_model(norm=True)) - _count(_model()) == 2 * (4 + 1 + 8 + 4) * w


def _inputs(count=6):
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(0, n, count) for n in FIELDS], axis=1), rng.standard_normal((count, DENSE), np.float32)


@pytest.mark.parametrize("norm", [False, True])
def test_logits_are_those_of_the_paper(norm):
    net = _model(norm=norm)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda p: p + 0.3 * rng.standard_normal(p.shape).astype(np.float32), net.init(jax.random.key(0))[0]
    )
    categories, dense = _inputs()
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)

    def layer(q, x):
        y = x @ q["linear"]["kernel"] + q["linear"]["bias"]
        if norm:
            y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-6)
            y = y * q["norm"]["scale"] + q["norm"]["bias"]
        return np.maximum(y, 0)

    vectors = [layer(p["bottom"], layer(p["stem"], dense.astype(np.float64)))]
    vectors += [p["embed"]["embedding"][offset + categories[:, i]] for i, offset in enumerate((0, 3, 8))]
    products = [np.sum(vectors[i] * vectors[j], axis=1) for i in range(4) for j in range(i + 1, 4)]
    x = np.concatenate([vectors[0], np.stack(products, axis=1)], axis=1)
    x = layer(p["blocks"]["1"], layer(p["blocks"]["0"], x))
    expected = (x @ p["readout"]["kernel"] + p["readout"]["bias"])[:, 0]
    logits = net.apply(params, {}, categories.astype(np.uint8), dense, train=False, rate=0.0, key=None)[0]
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)


def test_dropout_is_the_identity_at_rate_0():
    net = _model()
    params = net.init(jax.random.key(0))[0]
    apply = lambda train, rate: net.apply(params, {}, *_inputs(), train=train, rate=rate, key=jax.random.key(1))[0]  # noqa: E731
    np.testing.assert_array_equal(apply(True, 0.0), apply(False, 0.0))
    assert np.any(apply(True, 0.5) != apply(False, 0.0))


def test_embeddings_start_with_the_asked_deviation():
    for sd in (0.25, 1.0):
        params = _model((500, 500), width=16, embedding_sd=sd).init(jax.random.key(0))[0]
        assert np.std(params["embed"]["embedding"]) == pytest.approx(sd, rel=0.05)


def test_roles():
    roles = _model(norm=True).roles
    assert (roles["embed"]["embedding"].kind, roles["embed"]["embedding"].fan_in) == ("embedding", 10)
    assert roles["stem"]["linear"]["kernel"].kind == "input"
    assert roles["bottom"]["linear"]["kernel"].kind == "matrix"
    assert roles["readout"]["kernel"].kind == "readout"
