"""What a submission file finds under `algoperf.jax_sharding_utils`: one mesh axis `batch` over all devices it sees."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def _mesh() -> Mesh:
    return Mesh(np.asarray(jax.devices()), ("batch",))


def get_replicate_sharding() -> NamedSharding:
    """The same value on every device."""
    return NamedSharding(_mesh(), PartitionSpec())


def get_batch_dim_sharding() -> NamedSharding:
    """The leading axis split over the devices."""
    return NamedSharding(_mesh(), PartitionSpec("batch"))


def shard_along_batch_dim(tree):
    """Every leaf with its leading axis split over the devices."""
    return jax.tree.map(lambda x: jax.device_put(x, get_batch_dim_sharding()), tree)


def replicate(tree):
    """Every leaf on every device."""
    return jax.tree.map(lambda x: jax.device_put(x, get_replicate_sharding()), tree)


def display_shard_info(array: jax.Array) -> None:
    """Prints where an array lies."""
    print(f"shape {array.shape}, sharding {array.sharding}")
