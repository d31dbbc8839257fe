"""Which hardware can be named, and what is said of the rest."""

import pytest

from partitioning import PartitioningError
from partitioning.hardware import CHIPS, get_chip
from partitioning.slices import known_slices, parse_slice


@pytest.mark.parametrize(
    ("text", "size", "shape"),
    [
        ("h100:16x8", 128, (16, 8)),
        ("h200:1", 1, (1, 1)),
        ("a100-40gb:8", 8, (1, 8)),
        ("v5p:8x8x8", 512, (8, 8, 8)),
        ("v5p:2x2x1", 4, (2, 2, 1)),
        ("v5e:16x16*2", 512, (16, 16)),
        ("v4:4x4x4", 64, (4, 4, 4)),
    ],
)
def test_hardware_that_can_be_had(text: str, size: int, shape: tuple[int, ...]) -> None:
    slice_ = parse_slice(text)
    assert (slice_.size, slice_.shape) == (size, shape)
    assert parse_slice(slice_.name) == slice_


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h100", "not of the form CHIP:SHAPE"),
        ("v5p-512", "not of the form CHIP:SHAPE"),
        ("v5p:24x24x24", "v5p comes in slices such as "),
        ("h1000:8", r"unknown chip 'h1000'; known: a100, a100-40gb, h100"),
        ("h100:16", "h100 comes as DEVICES of one node, up to 8, or NODESx8"),
        ("h100:2x4", "h100 comes as DEVICES of one node, up to 8, or NODESx8"),
        ("h100:2x8*2", "only TPUs have slices; write more nodes"),
        ("v5p:8x8", "v5p comes in slices such as 2x2x1, "),
        ("v5p:3x4x4", "v5p comes in slices such as "),
        ("v5e:12x12", "v5e comes in slices such as 2x2, 2x4, 4x4, 4x8, 8x8, 8x16, 16x16"),
        ("v5e:4x4*0", "at least one slice is needed"),
    ],
)
def test_other_hardware_is_refused_in_a_line(text: str, message: str) -> None:
    with pytest.raises(PartitioningError, match=message) as refused:
        parse_slice(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_slices_of_a_chip_grow(chip) -> None:
    slices = known_slices(chip, 4096)
    sizes = [slice_.size for slice_ in slices]
    assert sizes == sorted(sizes)
    assert sizes[-1] <= 4096
    assert all(parse_slice(slice_.name) == slice_ for slice_ in slices)


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_figures_of_a_chip_are_of_its_order(chip) -> None:
    assert get_chip(chip.name) is chip
    assert chip.source
    assert 1e14 < chip.peak["bfloat16"] < 1e15
    assert chip.peak["float32"] < chip.peak["bfloat16"]
    assert 0.5 < chip.matrix_rate < 1
    assert 15 < chip.memory / 2**30 < 150
    assert chip.inter_node <= chip.intra_node < chip.memory_bandwidth
