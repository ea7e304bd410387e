"""The two conventions in which files hold their arrays, and the way between them and plain trees.

`jit` (AlgoPerf 0.6): plain shapes, parameters on every device, batches split over one mesh axis.
`pmap` (v0.5): every leaf has a leading axis of devices, with equal copies of parameters and a part of the batch each.
"""

import abc
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

PyTree = Any


class Layout(abc.ABC):
    """How parameters, model state and batches lie on `devices`."""

    pmap: bool

    def __init__(self, devices: Sequence[Any]):
        self.devices = list(devices)
        self.mesh = Mesh(np.asarray(self.devices), ("batch",))
        self.batch = NamedSharding(self.mesh, PartitionSpec("batch"))
        self.replicated = NamedSharding(self.mesh, PartitionSpec())

    @abc.abstractmethod
    def put(self, tree: PyTree) -> PyTree:
        """A plain tree of arrays as a file holds it, in buffers of its own: files donate what they are given."""

    @abc.abstractmethod
    def plain(self, params: PyTree, model_state: PyTree) -> tuple[PyTree, PyTree]:
        """What a file holds as plain trees, to be evaluated. Traceable."""

    @abc.abstractmethod
    def split(self, batch: PyTree) -> PyTree:
        """A batch [B, ...] in the shape that a file is given, to be placed by `batch`. Traceable.

        Raises:
          ValueError: a leaf whose leading axis the number of devices does not divide.
        """

    def _check(self, batch: PyTree) -> None:
        n = len(self.devices)
        for path, leaf in jax.tree.leaves_with_path(batch):
            if not np.ndim(leaf) or leaf.shape[0] % n:
                where, shape = jax.tree_util.keystr(path), list(np.shape(leaf))
                raise ValueError(f"batch{where} of shape {shape}: its first axis does not divide over {n} devices")


class Jit(Layout):
    """AlgoPerf 0.6."""

    pmap = False

    def put(self, tree: PyTree) -> PyTree:
        return jax.tree.map(lambda x: jax.device_put(np.array(x), self.replicated), tree)

    def plain(self, params: PyTree, model_state: PyTree) -> tuple[PyTree, PyTree]:
        return params, model_state

    def split(self, batch: PyTree) -> PyTree:
        self._check(batch)
        return batch


class Pmap(Layout):
    """AlgoPerf v0.5."""

    pmap = True

    def put(self, tree: PyTree) -> PyTree:
        return jax.tree.map(lambda x: jax.device_put(np.stack([x] * len(self.devices)), self.batch), tree)

    def plain(self, params: PyTree, model_state: PyTree) -> tuple[PyTree, PyTree]:
        """Running statistics differ by device, each of a part of the batches; as upstream, their mean is evaluated."""
        first = jax.tree.map(lambda x: x[0], params)
        return first, jax.tree.map(lambda x: jnp.mean(x, 0).astype(x.dtype), model_state)

    def split(self, batch: PyTree) -> PyTree:
        self._check(batch)
        n = len(self.devices)
        return jax.tree.map(lambda x: x.reshape(n, x.shape[0] // n, *x.shape[1:]), batch)
