"""From one process's rows of a batch to the global array on a mesh."""

from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from partitioning.mesh import BATCH_AXES


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the layout of every batch array: rows split over `data` and `fsdp`."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def global_batch(mesh: Mesh, rows: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Returns the arrays of all processes' rows, of which this process holds `rows` (equally many in each)."""
    sharding, processes = batch_sharding(mesh), jax.process_count()
    return {
        name: jax.make_array_from_process_local_data(sharding, array, (len(array) * processes, *array.shape[1:]))
        for name, array in rows.items()
    }
