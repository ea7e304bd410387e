"""The graph network: what numbers graphs may change, and what padding may not."""

import jax
import numpy as np
import pytest

from algoperf_lite.models.adapter import network
from algoperf_lite.models.gnn import GNN

NODES, EDGES = (5, 2), (3,)


def _model(width=8, depth=2, **variant):
    return network(lambda rngs, w: GNN(NODES, EDGES, 4, width=w, depth=depth, rngs=rngs, **variant), width, width)


def _random(params, seed=0):
    """Parameters away from a readout of zeros."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: p + 0.3 * rng.standard_normal(p.shape).astype(np.float32), params)


def _graphs(count=3, n=7, e=12, seed=0):
    rng = np.random.default_rng(seed)
    sizes = np.stack([rng.integers(3, n + 1, count), rng.integers(2, e + 1, count)], axis=1)
    nodes = np.stack([rng.integers(0, c, (count, n)) for c in NODES], axis=-1)
    ends = rng.integers(0, sizes[:, :1, None], (count, 2, e))
    edges = np.stack([rng.integers(0, c, (count, e)) for c in EDGES], axis=-1)
    return {"nodes": nodes, "edges": edges, "senders": ends[:, 0], "receivers": ends[:, 1], "sizes": sizes}


def _apply(net, params, graphs):
    apply = jax.jit(lambda graphs: net.apply(params, {}, graphs, train=False, rate=0.0, key=None)[0])
    return np.asarray(apply(graphs))


@pytest.fixture(
    params=[{}, {"norm": False}, {"residual": False}, {"activation": jax.nn.silu}], ids=lambda p: next(iter(p), "plain")
)
def model(request):
    net = _model(**request.param)
    return net, _random(net.init(jax.random.key(0))[0])


def test_number_of_parameters():
    width, depth = 8, 3
    shapes = jax.eval_shape(_model(width, depth).init, jax.random.key(0))[0]
    update = lambda parts: parts * width * width + 3 * width  # noqa: E731 (kernel, bias, scale and bias of the norm)
    first, later = update(3) + 2 * update(2), update(4) + 2 * update(3)
    expected = (sum(NODES) + sum(EDGES)) * width + first + (depth - 1) * later + width * 4 + 4
    assert sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes)) == expected


def test_numbering_of_nodes_and_edges_changes_nothing(model):
    net, params = model
    graphs = _graphs()
    rng = np.random.default_rng(1)
    renamed = {name: leaf.copy() for name, leaf in graphs.items()}
    for g, (n, e) in enumerate(graphs["sizes"]):
        order = rng.permutation(n)
        renamed["nodes"][g, order] = graphs["nodes"][g, :n]
        shuffle = rng.permutation(e)
        for name in ("senders", "receivers"):
            renamed[name][g, :e] = order[graphs[name][g, :e]][shuffle]
        renamed["edges"][g, :e] = graphs["edges"][g, :e][shuffle]
    np.testing.assert_allclose(_apply(net, params, renamed), _apply(net, params, graphs), rtol=2e-4, atol=2e-4)


def test_padding_changes_nothing(model):
    net, params = model
    graphs = _graphs()
    wide = {**graphs}
    for name, more in (("nodes", 4), ("edges", 5), ("senders", 5), ("receivers", 5)):
        leaf = graphs[name]
        junk = np.random.default_rng(2).integers(0, 2, (len(leaf), more, *leaf.shape[2:]))
        wide[name] = np.concatenate([leaf, junk], axis=1)
    for g, (n, e) in enumerate(graphs["sizes"]):  # what lies beyond the sizes is never read
        wide["nodes"][g, n:] = 1
        wide["edges"][g, e:] = 2
        wide["senders"][g, e:] = 0
    np.testing.assert_allclose(_apply(net, params, wide), _apply(net, params, graphs), rtol=2e-4, atol=2e-4)


def test_each_part_of_a_graph_matters(model):
    net, params = model
    graphs = _graphs()
    before = _apply(net, params, graphs)
    for name, categories in (("nodes", NODES[0]), ("edges", EDGES[0])):
        changed = {**graphs, name: graphs[name].copy()}
        changed[name][0, 0, 0] = (changed[name][0, 0, 0] + 1) % categories
        after = _apply(net, params, changed)
        assert np.abs(after[0] - before[0]).max() > 1e-4, name
        np.testing.assert_array_equal(after[1:], before[1:])
    turned = {**graphs, "senders": graphs["receivers"], "receivers": graphs["senders"]}
    assert np.abs(_apply(net, params, turned) - before).max() > 1e-4


def test_an_update_is_a_dense_layer_on_the_concatenation():
    net = _model(depth=1, residual=False)
    params = _random(net.init(jax.random.key(0))[0])
    graphs = _graphs(count=1)
    n, e = graphs["sizes"][0]
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)

    def update(name, *parts):
        linear, norm = p["blocks"]["0"][name]["linear"], p["blocks"]["0"][name]["norm"]
        y = np.maximum(np.concatenate(parts, axis=-1) @ linear["kernel"] + linear["bias"], 0)
        y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-6)
        return y * norm["scale"] + norm["bias"]

    kernel = p["node_input"]["stem"]["kernel"]
    nodes = kernel[graphs["nodes"][0, :n, 0]] + kernel[NODES[0] + graphs["nodes"][0, :n, 1]]
    edges = p["edge_input"]["stem"]["kernel"][graphs["edges"][0, :e, 0]]
    senders, receivers = graphs["senders"][0, :e], graphs["receivers"][0, :e]
    edges = update("edge", edges, nodes[senders], nodes[receivers])
    received = np.zeros_like(nodes)
    np.add.at(received, receivers, edges)
    nodes = update("node", nodes, received)
    graph = update("graph", nodes.sum(0), edges.sum(0))
    expected = graph @ p["readout"]["kernel"] + p["readout"]["bias"]
    np.testing.assert_allclose(_apply(net, params, graphs)[0], expected, rtol=1e-3, atol=1e-4)


def test_roles():
    roles = _model().roles
    assert roles["node_input"]["stem"]["kernel"].kind == "input"
    assert roles["readout"]["kernel"].kind == "readout"
    update = roles["blocks"]["1"]["edge"]
    assert (update["linear"]["kernel"].kind, update["linear"]["kernel"].fan_in) == ("matrix", 32)
    assert update["norm"]["scale"].kind == "norm"
