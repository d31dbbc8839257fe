"""Mesh sizes, and batches that fit them."""

import math

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioning import MESH_AXES, MeshConfig, PartitioningError, batch_shards, check_batch, make_mesh
from partitioning.mesh import resolve_sizes


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (MeshConfig(), (1, 8, 1, 1, 1)),
        (MeshConfig(2, 2, 2), (1, 2, 2, 1, 2)),
        (MeshConfig(1, -1, 2), (1, 1, 4, 1, 2)),
        (MeshConfig(2, 4, -1), (1, 2, 4, 1, 1)),
        (MeshConfig(data=1, fsdp=2, sequence=-1), (1, 1, 2, 4, 1)),
        (MeshConfig(1, -1, pipeline=4), (4, 1, 2, 1, 1)),
    ],
)
def test_sizes_of_eight_devices(config: MeshConfig, expected: tuple[int, ...]) -> None:
    assert resolve_sizes(config, 8) == expected
    mesh = make_mesh(config)
    assert tuple(mesh.shape.items()) == tuple(zip(MESH_AXES, expected, strict=True))
    assert set(mesh.devices.flat) == set(jax.devices())


@given(st.permutations([-1, 1, 2]), st.integers(1, 64))
def test_the_open_axis_takes_the_rest(sizes: list[int], devices: int) -> None:
    if devices % 2 == 0:
        resolved = resolve_sizes(MeshConfig(*sizes), devices)
        assert math.prod(resolved) == devices
        got = dict(zip(MESH_AXES, resolved, strict=True))
        assert all(wanted in (-1, got[axis]) for wanted, axis in zip(sizes, ("data", "fsdp", "tensor"), strict=True))
    else:
        with pytest.raises(PartitioningError):
            resolve_sizes(MeshConfig(*sizes), devices)


@pytest.mark.parametrize(
    "config", [MeshConfig(2, 2, 1), MeshConfig(3, -1, 1), MeshConfig(16, -1, 1), MeshConfig(4, 4, 4)]
)
def test_a_mesh_that_does_not_multiply_to_the_devices_is_refused(config: MeshConfig) -> None:
    with pytest.raises(PartitioningError, match=r"mesh data=.* does not multiply to the 8 devices there are"):
        make_mesh(config)


@pytest.mark.parametrize("sizes", [(0, 1, 1), (-2, 1, 1), (-1, -1, 1)])
def test_impossible_axes_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(PartitioningError, match="each axis is a positive number of devices, and at most one is -1"):
        MeshConfig(*sizes)


def test_a_mesh_over_some_of_the_devices() -> None:
    mesh = make_mesh(MeshConfig(1, 2, 1), jax.devices()[3:5])
    assert list(mesh.devices.flat) == jax.devices()[3:5]
    assert batch_shards(mesh) == 2


def test_batches_that_do_not_divide_are_refused() -> None:
    mesh = make_mesh(MeshConfig(2, 2, 2))
    assert batch_shards(mesh) == 4
    check_batch(mesh, 24, accumulation=3)
    with pytest.raises(PartitioningError, match=r"batch of 30 .* divisible by 4 .*data=2 x fsdp=2.*that is: 28"):
        check_batch(mesh, 30)
    with pytest.raises(PartitioningError, match=r"divisible by 12 \(.*3 accumulation steps\); .* that is: 12"):
        check_batch(mesh, 8, accumulation=3)
    with pytest.raises(PartitioningError, match="that is: 4"):
        check_batch(mesh, 0)
