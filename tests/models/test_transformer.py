"""What makes a decoder a decoder."""

import jax
import numpy as np
import pytest

from algoperf_lite.models import layers
from algoperf_lite.models.adapter import network
from algoperf_lite.models.transformer import Transformer


def _model(**variant):
    fields = {"depth": 2, "head_dim": 8, "embedding_sd": 0.3, "qk_norm": True, "post_norm": False, **variant}
    return network(lambda rngs, width: Transformer(11, width=width, rngs=rngs, **fields), 16, 16)


@pytest.mark.parametrize("variant", [{}, {"qk_norm": False}, {"post_norm": True}])
def test_a_future_token_cannot_change_the_past(variant):
    net = _model(**variant)
    params, state = net.init(jax.random.key(0))
    apply = jax.jit(lambda tokens: net.apply(params, state, tokens, train=False, rate=0.0, key=None)[0])
    tokens = np.random.default_rng(0).integers(0, 11, (2, 9))
    changed = tokens.copy()
    changed[:, 5] = (changed[:, 5] + 1) % 11
    a, b = apply(tokens), apply(changed)
    np.testing.assert_array_equal(a[:, :5], b[:, :5])
    assert np.all(np.any(a[:, 5:] != b[:, 5:], axis=-1))


def test_rotary_products_depend_on_distance_only():
    q = np.tile(np.random.default_rng(0).standard_normal((1, 1, 1, 8)), (1, 6, 1, 1))
    k = np.tile(np.random.default_rng(1).standard_normal((1, 1, 1, 8)), (1, 6, 1, 1))
    products = np.einsum("bqhd,bkhd->qk", layers.rotary(q), layers.rotary(k))
    for distance in range(-3, 4):
        diagonal = np.diagonal(products, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-5)
    assert abs(products[0, 0] - products[3, 0]) > 1e-3


def test_width_must_fit_the_heads():
    with pytest.raises(ValueError, match="width 12 is not a multiple of the head dimension 8"):
        network(lambda rngs, width: layers.Attention(width, head_dim=8, causal=True, qk_norm=False, rngs=rngs), 12, 16)


def test_roles_of_attention():
    roles = _model().roles["blocks"]["0"]["attention"]
    kinds = {name: leaf[next(iter(leaf))].kind for name, leaf in roles.items()}
    assert kinds == {
        "query": "query",
        "key": "key",
        "value": "value",
        "out": "attention_out",
        "query_norm": "norm",
        "key_norm": "norm",
    }
