"""Chips and what joins them: the figures that the cost model and model FLOP utilization rest on, each with its source.

All rates are of one device as jax counts it (a TPU v4 or v5p chip's two cores are one), dense, in FLOP/s and bytes/s;
bandwidths are in one direction.
"""

import dataclasses
import re
from collections.abc import Mapping

import jax

from partitioning.errors import PartitioningError

GIB = 2**30
_GBIT = 1e9 / 8

_TPU_DOCS = "Google Cloud documentation, TPU {}"
_SCALING_BOOK = "links: How to Scale Your Model (2025), part 2"
_GRANTED = "memory: what libtpu 0.0.42 grants a program"
_NVIDIA = (
    "NVIDIA {} datasheet; memory: what the driver grants a program; NVLink and matrix rate: ml-engineering (2025), "
    "network and accelerator tables"
)
_TPU_RATE = "matrix rate: what MaxText's 66.9% on v5e, with recomputation, implies at least"


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device and its network.

    Attributes:
      name: as `--hardware` has it.
      kind: words that `jax.Device.device_kind` holds.
      peak: FLOP/s by precision; "float32" is TF32 on NVIDIA GPUs; on TPUs it is the rate of six bfloat16 products.
      matrix_rate: share of the bfloat16 peak that large products reach.
      memory: bytes of HBM that programs may use.
      memory_bandwidth: of HBM.
      node: devices of a host, or, of TPUs, on a host's board.
      intra_node: to the devices of the node (NVLink), or, of TPUs, along one link of the torus.
      inter_node: to other nodes, or, of TPUs, to other slices.
      host_bandwidth: to the memory of the host.
      host_memory: of that, bytes a device.
      torus: physical axes of a slice of more than one host; 0: no torus, all nodes reach each other.
      source: where the figures stand.
    """

    name: str
    kind: str
    peak: Mapping[str, float]
    matrix_rate: float
    memory: float
    memory_bandwidth: float
    node: int
    intra_node: float
    inter_node: float
    host_bandwidth: float
    host_memory: float
    torus: int
    source: str

    def wraps(self, side: int) -> bool:
        """Returns whether a side of a slice of a TPU is a ring."""
        return side >= 4 and side % 4 == 0 if self.torus == 3 else side == 16

    @property
    def platform(self) -> str:
        return "tpu" if self.torus else "cuda"


def _chip(
    name: str,
    kind: str,
    bfloat16: float,
    matrix_rate: float,
    gibibytes: float,
    memory_bandwidth: float,
    joined: tuple[int, float, float],
    host: tuple[float, float],
    torus: int = 0,
) -> Chip:
    """Returns a chip; `joined` are devices of a node, rates within and between nodes, `host` rate and GiB."""
    float32 = {"float32": bfloat16 / (6 if torus else 2)}
    # TPUs of the table and A100s have no units for 8-bit floats of twice the rate.
    float8 = {} if torus or name.startswith("a100") else {"float8": 2 * bfloat16}
    return Chip(
        name=name,
        kind=kind,
        peak=float32 | {"bfloat16": bfloat16} | float8,
        matrix_rate=matrix_rate,
        memory=gibibytes * GIB,
        memory_bandwidth=memory_bandwidth,
        node=joined[0],
        intra_node=joined[1],
        inter_node=joined[2],
        host_bandwidth=host[0],
        host_memory=host[1] * GIB,
        torus=torus,
        source="; ".join((_TPU_DOCS.format(name), _SCALING_BOOK, _GRANTED, _TPU_RATE))
        if torus
        else _NVIDIA.format(kind),
    )


# First match of the kind as whole words within `jax.Device.device_kind`, so that longer ones stand first.
CHIPS: tuple[Chip, ...] = (
    _chip("h200-nvl", "H200 NVL", 835.5e12, 0.80, 139.8, 4.8e12, (4, 450e9, 50e9), (55e9, 128)),
    _chip("h200", "H200", 989.4e12, 0.80, 139.8, 4.8e12, (8, 450e9, 50e9), (55e9, 256)),
    _chip("h100-pcie", "H100 PCIe", 756e12, 0.80, 79.1, 2.0e12, (8, 64e9, 25e9), (55e9, 128)),
    _chip("h100-nvl", "H100 NVL", 835.5e12, 0.80, 93.1, 3.9e12, (2, 300e9, 50e9), (55e9, 128)),
    _chip("h100", "H100", 989.4e12, 0.80, 79.1, 3.35e12, (8, 450e9, 50e9), (55e9, 256)),
    _chip("a100-40gb", "A100-SXM4-40GB", 312e12, 0.87, 39.5, 1.555e12, (8, 300e9, 6.25e9), (25e9, 128)),
    _chip("a100", "A100", 312e12, 0.87, 79.1, 2.039e12, (8, 300e9, 25e9), (25e9, 256)),
    _chip("l4", "L4", 121e12, 0.80, 22.0, 0.3e12, (8, 32e9, 12.5e9), (25e9, 48)),
    _chip("v6e", "TPU v6 lite", 918e12, 0.93, 31.25, 1.64e12, (4, 90e9, 100 * _GBIT), (15e9, 192), torus=2),
    _chip("v5e", "TPU v5 lite", 197e12, 0.93, 15.75, 0.819e12, (4, 45e9, 25 * _GBIT), (15e9, 64), torus=2),
    _chip("v5p", "TPU v5", 459e12, 0.93, 95.74, 2.765e12, (4, 90e9, 50 * _GBIT), (15e9, 104), torus=3),
    _chip("v4", "TPU v4", 275e12, 0.93, 30.75, 1.228e12, (4, 45e9, 50 * _GBIT), (15e9, 96), torus=3),
)


def find_chip(device_kind: str) -> Chip | None:
    """Returns the chip that `jax.Device.device_kind` names, or None."""
    # Whole words: an L40 is no L4.
    return next((chip for chip in CHIPS if re.search(rf"\b{chip.kind}\b", device_kind)), None)


def peak_flops(device: jax.Device) -> float | None:
    """Returns the device's dense bfloat16 peak in FLOP/s, or None where it is not known (any CPU)."""
    chip = None if device.platform == "cpu" else find_chip(device.device_kind)
    return None if chip is None else chip.peak["bfloat16"]


def get_chip(name: str) -> Chip:
    """Returns the chip of a name; raises PartitioningError for an unknown one."""
    for chip in CHIPS:
        if chip.name == name.lower():
            return chip
    raise PartitioningError(f"unknown chip {name!r}; known: {', '.join(sorted(chip.name for chip in CHIPS))}")
