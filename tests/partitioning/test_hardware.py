"""Peak FLOP/s by the names that jax gives devices."""

import jax
import pytest

from partitioning import peak_flops
from partitioning.hardware import find_chip


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("NVIDIA H200", 989.4e12),
        ("NVIDIA H200 NVL", 835.5e12),
        ("NVIDIA H100 80GB HBM3", 989.4e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835.5e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L4", 121e12),
        ("TPU v4", 275e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5", 459e12),
        ("TPU v6 lite", 918e12),
        ("NVIDIA L40S", None),  # no L4
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_known_and_unknown_chips(kind: str, expected: float | None) -> None:
    chip = find_chip(kind)
    assert (chip and chip.peak["bfloat16"]) == expected


def test_a_cpu_has_no_peak() -> None:
    assert peak_flops(jax.devices("cpu")[0]) is None
