"""Peak arithmetic of the chips jax names, for model FLOP utilization."""

import dataclasses

import jax


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device as jax counts it: dense bfloat16 peak in FLOP/s, and where the figure stands."""

    name: str
    bfloat16_flops: float
    source: str


# First match of the name within `jax.Device.device_kind`, so that longer names stand first.
CHIPS: tuple[Chip, ...] = (
    Chip("H200", 989.4e12, "NVIDIA H200 datasheet (SXM, dense)"),
    Chip("H100 PCIe", 756e12, "NVIDIA H100 datasheet (PCIe, dense)"),
    Chip("H100", 989.4e12, "NVIDIA H100 datasheet (SXM, dense)"),
    Chip("A100", 312e12, "NVIDIA A100 datasheet"),
    Chip("L4", 121e12, "NVIDIA L4 datasheet (dense)"),
    Chip("TPU v6 lite", 918e12, "Google Cloud documentation, TPU v6e"),
    Chip("TPU v5 lite", 197e12, "Google Cloud documentation, TPU v5e"),
    Chip("TPU v5", 459e12, "Google Cloud documentation, TPU v5p"),
    Chip("TPU v4", 275e12, "Google Cloud documentation, TPU v4"),
)


def peak_flops(device: jax.Device) -> float | None:
    """Returns the device's dense bfloat16 peak in FLOP/s, or None where it is not known (any CPU)."""
    if device.platform == "cpu":
        return None
    return next((chip.bfloat16_flops for chip in CHIPS if chip.name in device.device_kind), None)
