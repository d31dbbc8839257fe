"""Devices of hardware that is not here, where the compilers for it are installed."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from partitioning import MESH_AXES, MeshConfig, PartitioningError, make_mesh
from partitioning.ahead_of_time import OutOfMemory, compile_program
from partitioning.slices import parse_slice
from partitioning.topologies import topology_devices

needs_tpu = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu")
needs_gpu = pytest.mark.skipif(importlib.util.find_spec("jax_cuda12_plugin") is None, reason="needs JAX's CUDA plugin")
HARDWARE = [
    *(pytest.param(name, marks=needs_tpu) for name in ("v4:2x2x2", "v5e:2x4", "v5p:2x2x2", "v6e:2x4", "v5e:2x2*2")),
    *(pytest.param(name, marks=needs_gpu) for name in ("h200:2x8", "h100:1x8", "a100:1x8", "a100-40gb:1x8")),
]


def product(rows: int, mesh: jax.sharding.Mesh) -> jax.stages.Lowered:
    by_rows, whole = (NamedSharding(mesh, spec) for spec in (PartitionSpec(("data", "fsdp")), PartitionSpec()))
    x = jax.ShapeDtypeStruct((rows, 1024), jnp.bfloat16, sharding=by_rows)
    weights = jax.ShapeDtypeStruct((1024, 1024), jnp.bfloat16, sharding=whole)
    return jax.jit(lambda x, weights: jnp.tanh(x @ weights), out_shardings=by_rows).lower(x, weights)


@pytest.mark.parametrize("name", HARDWARE)
def test_a_program_compiles_for_a_device_that_is_not_here(name: str) -> None:
    slice_ = parse_slice(name)
    devices = topology_devices(slice_)
    assert len(devices) == slice_.size
    mesh = make_mesh(MeshConfig(data=slice_.count, fsdp=-1), devices)
    compiled = compile_program(product(16 * slice_.size, mesh), slice_.chip.platform)
    # 16 rows and the weights on a device, and the products.
    assert compiled.arguments == 2 * (16 * 1024 + 1024 * 1024)
    assert compiled.memory >= compiled.arguments


@needs_tpu
def test_meshes_lie_along_the_sides_of_a_torus() -> None:
    slice_ = parse_slice("v5p:4x4x8")
    devices = topology_devices(slice_)
    mesh = make_mesh(MeshConfig(1, 16, 8), devices)
    along = mesh.devices.reshape(16, 8)
    for row in along:  # a side: two coordinates stay, the third runs
        coordinates = np.array([device.coords for device in row])
        assert sorted(len(set(axis)) for axis in coordinates.T) == [1, 1, 8]
    with pytest.raises(PartitioningError, match=r"mesh fsdp=64 .* torus 4x4x8 of a slice: "):
        make_mesh(MeshConfig(1, 64, 2), devices)


@needs_tpu
def test_data_goes_over_slices_first() -> None:
    devices = topology_devices(parse_slice("v5e:2x4*2"))
    mesh = make_mesh(MeshConfig(2, 8, 1), devices)
    assert [{device.slice_index for device in part.flat} for part in mesh.devices[0]] == [{0}, {1}]
    with pytest.raises(PartitioningError, match="mesh axis data = 1 does not divide over 2 slices"):
        make_mesh(MeshConfig(1, 16, 1), devices)


@needs_tpu
def test_a_program_too_large_for_the_device_is_the_compilers_word() -> None:
    mesh = make_mesh(MeshConfig(1, 4, 1), topology_devices(parse_slice("v5e:2x2")))
    with pytest.raises(OutOfMemory, match=r"the compiler ran out of memory: [\d.]+G of 15.75G"):
        compile_program(product(2**25, mesh), "tpu")


def test_chips_without_a_compiler_are_named() -> None:
    with pytest.raises(PartitioningError, match="^programs for l4 cannot be compiled here; those for h200, h100, a100"):
        topology_devices(parse_slice("l4:1"))


def test_a_compiler_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise RuntimeError("JAX TPU support not installed; cannot generate TPU topology.")

    monkeypatch.setattr("jax.experimental.topologies.get_topology_desc", missing)
    with pytest.raises(PartitioningError, match=r"no compiler for v5e:2x2 is installed: pip install 'm5jax\[plan\]'"):
        topology_devices(parse_slice("v5e:2x2"))


def test_the_mesh_of_a_machine_has_all_axes() -> None:
    assert make_mesh(MeshConfig()).axis_names == MESH_AXES
