"""Message passing on molecular graphs: the graph network of AlgoPerf's OGBG workload (Battaglia et al., arXiv 1806.01261).

Every round updates edges, then nodes, then one global vector per graph, each by a dense layer, an activation and
LayerNorm; what is summed over edges and nodes is masked, and the logits are read from the global vector alone. There is
no global vector before the first round, whose layers have no input for it. Unlike the original, LayerNorm follows the
activation and updates are added to what was there (`residual`): at small widths the network learns several times faster.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from algoperf_lite.models.layers import Linear, dropout


class Links(NamedTuple):
    """Who is joined to whom, and what is padding: indices [B, e] of nodes within a graph, masks [B, n or e, 1]."""

    senders: jax.Array
    receivers: jax.Array
    node_mask: jax.Array
    edge_mask: jax.Array

    def sum_of_edges(self, edges):
        """For every node the sum over the edges that it receives; [B, e, C] -> [B, n, C]."""
        count = self.node_mask.shape[1]
        return jax.vmap(lambda x, i: jax.ops.segment_sum(x, i, count))(edges, self.receivers)


def _pick(nodes, indices):
    """nodes [B, n, C], indices [B, e] -> [B, e, C]; batched, so that the batch axis may be sharded."""
    return jax.vmap(lambda x, i: x[i])(nodes, indices)


class Update(nnx.Module):
    """Dense layer on the concatenation of `parts` inputs, activation, LayerNorm, dropout.

    A part's share of the product is taken before that part is gathered to the edges or broadcast: fewer rows, same sum.
    """

    def __init__(self, parts: int, width: int, *, norm: bool, activation: Callable, rngs: nnx.Rngs):
        self.width, self.activation = width, activation
        self.linear = nnx.Linear(parts * width, width, rngs=rngs)
        self.norm = nnx.data(nnx.LayerNorm(width, rngs=rngs)) if norm else None

    def share(self, part: int, x):
        """x [..., width] times the rows of the kernel that belong to a part."""
        rows = self.linear.kernel[...][part * self.width : (part + 1) * self.width]
        return (x.reshape(-1, self.width) @ rows).reshape(x.shape)

    def finish(self, total, rate, key):
        """The new state from the sum of all shares; without dropout where there is no key."""
        y = self.activation(total + self.linear.bias[...])  # pyright: ignore[reportOptionalSubscript]
        y = y if self.norm is None else self.norm(y)
        return y if key is None else dropout(y, rate, key)


class Round(nnx.Module):
    """One round of message passing. `first`: without a global vector; `residual`: what there was before is added."""

    def __init__(self, width: int, *, first: bool, residual: bool, norm: bool, activation: Callable, rngs: nnx.Rngs):
        self.residual = residual

        def update(parts):
            return Update(parts if first else parts + 1, width, norm=norm, activation=activation, rngs=rngs)

        self.edge, self.node, self.graph = update(3), update(2), update(2)

    def __call__(self, nodes, edges, graph, links: Links, *, rate, key):
        """nodes [B, n, width], edges [B, e, width], graph [B, width] or None -> the same three; `key` None: evaluation."""
        keys = (None, None, None) if key is None else jax.random.split(key, 3)
        total = self.edge.share(0, edges)
        total += _pick(self.edge.share(1, nodes), links.senders) + _pick(self.edge.share(2, nodes), links.receivers)
        if graph is not None:
            total += self.edge.share(3, graph)[:, None]
        edges = links.edge_mask * self._add(edges, self.edge.finish(total, rate, keys[0]))
        total = self.node.share(0, nodes) + self.node.share(1, links.sum_of_edges(edges))
        if graph is not None:
            total += self.node.share(2, graph)[:, None]
        nodes = links.node_mask * self._add(nodes, self.node.finish(total, rate, keys[1]))
        total = self.graph.share(0, jnp.sum(nodes, axis=1)) + self.graph.share(1, jnp.sum(edges, axis=1))
        if graph is not None:
            total += self.graph.share(2, graph)
        return nodes, edges, self._add(graph, self.graph.finish(total, rate, keys[2]))

    def _add(self, old, new):
        return new if old is None or not self.residual else old + new


class GNN(nnx.Module):
    """Graphs padded to n nodes and e directed edges -> logits [B, labels].

    The call takes a dict: `nodes` [B, n, F] and `edges` [B, e, G], columns of categories; `senders` and `receivers`
    [B, e], indices of nodes within the graph; `sizes` [B, 2], the numbers of nodes and of directed edges.

    Args:
      node_categories, edge_categories: number of categories of each column.
    """

    def __init__(
        self,
        node_categories: Sequence[int],
        edge_categories: Sequence[int],
        labels: int,
        *,
        width: int,
        depth: int,
        norm: bool = True,
        residual: bool = True,
        activation: Callable = jax.nn.relu,
        rngs: nnx.Rngs,
    ):
        self.node_categories, self.edge_categories = tuple(node_categories), tuple(edge_categories)
        self.node_input = nnx.Dict(stem=Linear(sum(node_categories), width, rngs=rngs))
        self.edge_input = nnx.Dict(stem=Linear(sum(edge_categories), width, rngs=rngs))
        self.blocks = nnx.List(
            Round(width, first=i == 0, residual=residual, norm=norm, activation=activation, rngs=rngs) for i in range(depth)
        )
        self.readout = nnx.Linear(width, labels, kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, graphs, *, train: bool, rate, key):
        n, e = graphs["nodes"].shape[1], graphs["senders"].shape[1]
        sizes = graphs["sizes"].astype(jnp.int32)
        links = Links(
            graphs["senders"].astype(jnp.int32),
            graphs["receivers"].astype(jnp.int32),
            (jnp.arange(n) < sizes[:, :1]).astype(jnp.float32)[..., None],
            (jnp.arange(e) < sizes[:, 1:]).astype(jnp.float32)[..., None],
        )
        nodes = links.node_mask * self.node_input["stem"](_multi_hot(graphs["nodes"], self.node_categories))
        edges = links.edge_mask * self.edge_input["stem"](_multi_hot(graphs["edges"], self.edge_categories))
        graph: Any = None  # until the first round
        for i, block in enumerate(self.blocks):
            block_key = jax.random.fold_in(key, i) if train else None
            nodes, edges, graph = block(nodes, edges, graph, links, rate=rate, key=block_key)
        return self.readout(graph)


def _multi_hot(columns, categories: tuple[int, ...]):
    """Columns of categories [..., F] -> [..., sum of categories] with F ones, so that one product embeds them all."""
    offsets = np.cumsum((0, *categories[:-1]))
    index = columns.astype(jnp.int32) + offsets
    return sum(jax.nn.one_hot(index[..., i], sum(categories)) for i in range(len(categories)))
