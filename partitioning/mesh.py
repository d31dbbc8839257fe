"""Device meshes with the axes `pipeline`, `data`, `fsdp`, `sequence` and `tensor`.

`pipeline` splits the layers into stages, `data` replicates parameters, `fsdp` shards them (all three split the batch,
`pipeline` outside the layers only), `sequence` splits the tokens of a row (and shards parameters too), `tensor` splits
heads, hidden units and vocabulary. Axes are always all present, so that one set of rules (`partitioning.rules`) serves
every mesh.
"""

import dataclasses
import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh

from partitioning.errors import PartitioningError

MESH_AXES = ("pipeline", "data", "fsdp", "sequence", "tensor")  # the last one between the nearest devices
BATCH_AXES = ("pipeline", "data", "fsdp")


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each mesh axis; at most one may be -1, which takes the devices the others leave."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1
    sequence: int = 1
    pipeline: int = 1

    def __post_init__(self) -> None:
        sizes = list(self.sizes.values())
        if any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1:
            raise PartitioningError(
                f"mesh {self.sizes}: each axis is a positive number of devices, and at most one is -1 (all the rest)"
            )

    @property
    def sizes(self) -> dict[str, int]:
        """Devices along each of `MESH_AXES`, in their order."""
        return {axis: getattr(self, axis) for axis in MESH_AXES}


def resolve_sizes(config: MeshConfig, device_count: int) -> tuple[int, ...]:
    """Returns devices along `MESH_AXES`, their product being `device_count`.

    Raises:
      PartitioningError: the axes do not multiply to the device count.
    """
    sizes = list(config.sizes.values())
    fixed = math.prod(size for size in sizes if size != -1)
    if -1 in sizes and device_count % fixed == 0:
        sizes[sizes.index(-1)] = device_count // fixed
    if math.prod(sizes) != device_count or min(sizes) < 1:
        raise PartitioningError(
            f"mesh {describe_sizes(sizes)} does not multiply to the {device_count} devices there are"
        )
    return tuple(sizes)


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns the mesh of `config` over `devices` (default: all devices of all processes), laid out by topology.

    Raises:
      PartitioningError: the axes do not multiply to the device count, or the TPUs' torus has no such sides.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = resolve_sizes(config, len(devices))
    arranged = _on_torus(sizes, devices) if devices[0].platform == "tpu" else np.array(devices).reshape(sizes)
    return Mesh(arranged, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def _on_torus(sizes: tuple[int, ...], devices: list[jax.Device]) -> np.ndarray:
    """Returns TPUs so that each axis lies along sides of the torus, and `data` goes over slices first."""
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    within = list(sizes)
    data = MESH_AXES.index("data")
    if within[data] % slices:
        raise PartitioningError(f"mesh axis data = {sizes[data]} does not divide over {slices} slices")
    within[data] //= slices
    try:
        if slices == 1:
            return mesh_utils.create_device_mesh(sizes, devices)
        joined = [1] * len(sizes)
        joined[data] = slices
        return mesh_utils.create_hybrid_device_mesh(within, joined, devices)
    except (NotImplementedError, ValueError) as error:
        sides = [len({device.coords[axis] for device in devices}) for axis in range(3)]
        raise PartitioningError(
            f"mesh {describe_sizes(sizes)} does not lie on the torus {'x'.join(map(str, sides))} of a slice: each axis "
            "is a product of whole sides"
        ) from error


def describe_sizes(sizes: Sequence[int]) -> str:
    """Returns the axes of a mesh of more than one device, for messages and tables."""
    axes = [f"{axis}={size}" for axis, size in zip(MESH_AXES, sizes, strict=True) if size != 1]
    return " x ".join(axes) or "of one device"


def batch_shards(mesh: Mesh | AbstractMesh) -> int:
    """Returns into how many parts the mesh splits a batch."""
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def check_batch(mesh: Mesh | AbstractMesh, batch_size: int, accumulation: int = 1) -> None:
    """Raises PartitioningError unless a global batch splits evenly over accumulation steps and the mesh."""
    parts = batch_shards(mesh) * accumulation
    if batch_size < 1 or batch_size % parts:
        shape = describe_sizes(list(mesh.shape.values()))
        nearest = max(1, batch_size // parts) * parts
        raise PartitioningError(
            f"batch of {batch_size} examples is not divisible by {parts} "
            f"(mesh {shape}, {accumulation} accumulation steps); the nearest that is: {nearest}"
        )
