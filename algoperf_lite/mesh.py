"""The device mesh, and where parameters, optimizer state and batches lie on it.

Two axes: `data` holds copies of the parameters, `fsdp` shards them (ZeRO-3); a batch is split over both. One device is
a mesh of (1, 1): there is no second code path. Axis types are given, since JAX's default is Explicit.
"""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from algoperf_lite import errors

AXES = ("data", "fsdp")
BATCH = PartitionSpec(AXES)


def parse(text: str | None, devices: int | None = None) -> dict[str, int]:
    """`"data=4,fsdp=2"` as a dict; None is all devices (or `devices` of them) along `data`.

    Raises:
      UserError: unknown axis, a size that is no positive number, more devices than there are.
    """
    available = len(jax.devices())
    if devices is not None and not 1 <= devices <= available:
        raise errors.UserError(f"--devices {devices}: this process sees {available} ({jax.default_backend()})")
    sizes = {"data": devices or available, "fsdp": 1} if text is None else {"data": 1, "fsdp": 1}
    given: set[str] = set()
    for part in text.split(",") if text is not None else []:
        axis, eq, size = part.partition("=")
        if axis.strip() not in AXES:
            raise errors.unknown("mesh axis", axis.strip(), AXES, "such as --mesh data=4,fsdp=2")
        if not eq or not size.strip().isdecimal() or int(size) < 1:
            raise errors.UserError(f"--mesh {text}: {part!r} is not AXIS=SIZE with a size of 1 or more")
        if axis.strip() in given:
            raise errors.UserError(f"--mesh {text}: axis {axis.strip()!r} is there twice")
        given.add(axis.strip())
        sizes[axis.strip()] = int(size)
    wanted = math.prod(sizes.values())
    if wanted > available or (devices is not None and text is not None and wanted != devices):
        raise errors.UserError(
            f"mesh {sizes} needs {wanted} devices; this process sees {available} ({jax.default_backend()})"
            + (f" and --devices asks for {devices}" if devices else "")
        )
    return sizes


def make(sizes: dict[str, int]) -> Mesh:
    """The mesh of the first `data * fsdp` devices."""
    shape = tuple(sizes[axis] for axis in AXES)
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=jax.devices()[: math.prod(shape)])


def check_batch(mesh: Mesh, workload: str, batch_size: int) -> None:
    """Raises UserError where a batch does not divide over the mesh."""
    if batch_size % mesh.size:
        fitting = [n for n in range(1, mesh.size) if batch_size % n == 0]
        raise errors.UserError(
            f"workload {workload}: batch size {batch_size} does not divide over {mesh.size} devices "
            f"(mesh {dict(mesh.shape)}); the nearest number that does: --devices {fitting[-1] if fitting else 1}"
        )


def replicated(mesh: Mesh) -> NamedSharding:
    """The same value on every device."""
    return NamedSharding(mesh, PartitionSpec())


def shard_rule(mesh: Mesh, leaf: Any) -> NamedSharding:
    """Largest axis that the `fsdp` axis divides is sharded; small or indivisible leaves are replicated."""
    size = mesh.shape["fsdp"]
    dims = [d for d, n in enumerate(leaf.shape) if n % size == 0 and n >= size]
    if size == 1 or not dims:
        return replicated(mesh)
    largest = max(dims, key=lambda d: leaf.shape[d])
    return NamedSharding(mesh, PartitionSpec(*[None] * largest, "fsdp"))


def shardings(mesh: Mesh, shapes: Any) -> Any:
    """`shard_rule` over a pytree of shapes; the same rule for parameters, model state and optimizer state."""
    return jax.tree.map(lambda leaf: shard_rule(mesh, leaf), shapes)


def constrain_batch(mesh: Mesh, batch: Any) -> Any:
    """Inside a program: every leaf's leading (batch) axis split over all devices."""
    if mesh.size == 1:
        return batch
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, NamedSharding(mesh, BATCH)), batch)


def put_replicated(mesh: Mesh, tree: Any) -> Any:
    """Host arrays, equal on all processes, as arrays on every device of the mesh."""
    sharding = replicated(mesh)

    def put(x):
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    return jax.tree.map(put, tree)


def put_batch(mesh: Mesh, tree: Any) -> Any:
    """Host arrays with a leading batch axis, split over all devices where it divides."""

    def put(x):
        x = np.asarray(x)
        spec = BATCH if x.shape[0] % mesh.size == 0 else PartitionSpec()
        return jax.make_array_from_callback(x.shape, NamedSharding(mesh, spec), lambda index: x[index])

    return jax.tree.map(put, tree)
