"""Host rows to global arrays."""

import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from partitioning import (
    MESH_AXES,
    MeshConfig,
    PartitioningError,
    batch_sharding,
    batch_share,
    global_batch,
    make_mesh,
)
from partitioning.batches import Share


def test_rows_are_split_over_data_and_fsdp_and_keep_their_order() -> None:
    mesh = make_mesh(MeshConfig(2, 2, 2))
    rows = {"inputs": np.arange(32, dtype=np.int32).reshape(8, 4), "weights": np.ones(8, np.float32)}
    arrays = global_batch(mesh, rows)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, rows[name])
        assert array.sharding == batch_sharding(mesh)
        assert {shard.data.shape[0] for shard in array.addressable_shards} == {2}


@dataclasses.dataclass(eq=False)  # hashed by identity
class StandIn:
    devices: np.ndarray
    shape: dict[str, int]


def mesh_of_processes(sizes: tuple[int, ...], of_device: Sequence[int]) -> Any:
    """Returns what stands for a mesh whose devices, in order, belong to these processes."""
    devices = np.array([SimpleNamespace(process_index=process) for process in of_device]).reshape(sizes)
    return StandIn(devices, dict(zip(MESH_AXES, sizes, strict=True)))


@pytest.mark.parametrize(
    ("sizes", "of_device", "own", "expected"),
    [
        ((1, 2, 2, 1, 1), [0, 0, 1, 1], 1, Share(1, 2)),
        # Only `tensor` lies between the two processes: they hold the same rows.
        ((1, 1, 1, 1, 4), [0, 0, 1, 1], 1, Share(0, 1)),
        ((1, 2, 1, 1, 4), [0, 0, 1, 1, 2, 2, 3, 3], 2, Share(1, 2)),
        # A stage a process: outside the layers they split the rows.
        ((2, 1, 2, 1, 1), [0, 0, 1, 1], 1, Share(1, 2)),
        # On a torus the rows of a process need not lie side by side.
        ((1, 4, 1, 1, 1), [0, 1, 0, 1], 1, Share(1, 2)),
    ],
)
def test_a_process_reads_the_rows_that_its_devices_hold(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], of_device: Sequence[int], own: int, expected: Share
) -> None:
    monkeypatch.setattr("jax.process_index", lambda: own)
    assert batch_share(mesh_of_processes(sizes, of_device)) == expected


def test_processes_that_share_only_some_rows_are_refused() -> None:
    with pytest.raises(PartitioningError, match="processes share only some of their rows"):
        batch_share(mesh_of_processes((1, 3, 1, 1, 2), [0, 0, 0, 1, 1, 1]))
