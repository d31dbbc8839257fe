"""Peak arithmetic of the chips jax names, for model FLOP utilization."""

import dataclasses
import re

import jax


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device as jax counts it: dense bfloat16 peak in FLOP/s, and where the figure stands."""

    name: str
    bfloat16_flops: float
    source: str


# First match of the name as whole words within `jax.Device.device_kind`, so that longer names stand first.
CHIPS: tuple[Chip, ...] = (
    Chip("H200 NVL", 835.5e12, "NVIDIA H200 datasheet (NVL, dense)"),
    Chip("H200", 989.4e12, "NVIDIA H200 datasheet (SXM, dense)"),
    Chip("H100 PCIe", 756e12, "NVIDIA H100 datasheet (PCIe, dense)"),
    Chip("H100 NVL", 835.5e12, "NVIDIA H100 datasheet (NVL, dense)"),
    Chip("H100", 989.4e12, "NVIDIA H100 datasheet (SXM, dense)"),
    Chip("A100", 312e12, "NVIDIA A100 datasheet"),
    Chip("L4", 121e12, "NVIDIA L4 datasheet (dense)"),
    Chip("TPU v6 lite", 918e12, "Google Cloud documentation, TPU v6e"),
    Chip("TPU v5 lite", 197e12, "Google Cloud documentation, TPU v5e"),
    Chip("TPU v5", 459e12, "Google Cloud documentation, TPU v5p"),
    Chip("TPU v4", 275e12, "Google Cloud documentation, TPU v4"),
)


def find_chip(device_kind: str) -> Chip | None:
    """Returns the chip that `jax.Device.device_kind` names, or None."""
    # Whole words: an L40 is no L4.
    return next((chip for chip in CHIPS if re.search(rf"\b{chip.name}\b", device_kind)), None)


def peak_flops(device: jax.Device) -> float | None:
    """Returns the device's dense bfloat16 peak in FLOP/s, or None where it is not known (any CPU)."""
    chip = None if device.platform == "cpu" else find_chip(device.device_kind)
    return None if chip is None else chip.bfloat16_flops
