"""From one process's rows of a batch to the global array on a mesh."""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from partitioning.errors import PartitioningError
from partitioning.mesh import BATCH_AXES, MESH_AXES, batch_shards, describe_sizes


@dataclasses.dataclass(frozen=True)
class Share:
    """One process's part of the rows of every batch: part `index` of `count` equal ones."""

    index: int
    count: int


@functools.cache  # asked for at every step
def batch_share(mesh: Mesh) -> Share:
    """Returns which rows of a batch this process's devices hold.

    Processes between which only other axes than those of the batch are split hold, and read, the same rows.

    Raises:
      PartitioningError: the rows of two processes overlap without being the same.
    """
    others = tuple(place for place, axis in enumerate(MESH_AXES) if axis not in BATCH_AXES)
    # The devices of each part of a batch: axes of the batch lead, in their order.
    devices = np.transpose(mesh.devices, (*[MESH_AXES.index(axis) for axis in BATCH_AXES], *others))
    held: dict[int, set[int]] = {}
    for part, row in enumerate(devices.reshape(batch_shards(mesh), -1)):
        for device in row:
            held.setdefault(device.process_index, set()).add(part)
    shares = sorted({tuple(sorted(parts)) for parts in held.values()})
    if sum(map(len, shares)) != batch_shards(mesh) or len({len(parts) for parts in shares}) != 1:
        raise PartitioningError(
            f"mesh {describe_sizes(list(mesh.shape.values()))} splits a batch so that processes share only some of "
            f"their rows; let pipeline x data x fsdp be a multiple or a divisor of the {len(held)} processes"
        )
    return Share(shares.index(tuple(sorted(held[jax.process_index()]))), len(shares))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the layout of every batch array: rows split over `BATCH_AXES`."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def global_batch(mesh: Mesh, rows: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Returns the arrays of all processes' rows, of which this process holds `rows`: its `batch_share`."""
    sharding, parts = batch_sharding(mesh), batch_share(mesh).count
    return {
        name: jax.make_array_from_process_local_data(sharding, array, (len(array) * parts, *array.shape[1:]))
        for name, array in rows.items()
    }
