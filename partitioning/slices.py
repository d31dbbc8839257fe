"""Sets of chips that can be had: nodes of GPUs, and TPU slices, which are tori."""

import dataclasses
import math
import re

from partitioning.errors import PartitioningError
from partitioning.hardware import Chip, get_chip

# Chips of the largest slice. Sides are 1, 2 or multiples of 4, the first two even, since hosts hold 2 x 2 chips.
_LARGEST = {"v4": 4096, "v5p": 6144, "v5e": 256, "v6e": 256}
# Slices as they are rented, smallest first (Google Cloud documentation); of v4 and v5p there are others too.
_SHAPES_2D: tuple[tuple[int, ...], ...] = ((2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16))
_SHAPES_3D: tuple[tuple[int, ...], ...] = (
    (2, 2, 1),
    (2, 2, 2),
    (2, 2, 4),
    (2, 4, 4),
    (4, 4, 4),
    (4, 4, 8),
    (4, 8, 8),
    (8, 8, 8),
    (8, 8, 16),
    (8, 16, 16),
    (16, 16, 16),
    (16, 16, 24),
)


@dataclasses.dataclass(frozen=True)
class Slice:
    """Chips that train one model.

    Attributes:
      chip: all are alike.
      shape: GPUs: nodes and devices of each; TPUs: the sides of the torus.
      count: TPU slices of this shape, joined by the data-center network.
    """

    chip: Chip
    shape: tuple[int, ...]
    count: int = 1

    @property
    def size(self) -> int:
        """Devices of all slices."""
        return math.prod(self.shape) * self.count

    @property
    def name(self) -> str:
        """As `parse_slice` reads it."""
        joined = f"*{self.count}" if self.count > 1 else ""
        return f"{self.chip.name}:{'x'.join(map(str, self.shape))}{joined}"


def parse_slice(text: str) -> Slice:
    """Returns the chips that a text names: `h100:16x8` (nodes x devices of each), `v5p:8x8x8`, `v5e:16x16*2` (slices).

    Raises:
      PartitioningError: an unknown chip, or a shape that it does not come in.
    """
    match = re.fullmatch(r"([\w-]+):(\d+(?:x\d+)*)(?:\*(\d+))?", text)
    if not match:
        raise PartitioningError(
            f"hardware {text!r} is not of the form CHIP:SHAPE, such as h100:16x8, v5p:8x8x8, v5e:16x16*2"
        )
    chip, shape = get_chip(match[1]), tuple(map(int, match[2].split("x")))
    count = int(match[3] or 1)
    if chip.torus:
        _check_torus(chip, shape, text)
    else:
        shape = (1, *shape) if len(shape) == 1 else shape
        if len(shape) != 2 or not 1 <= shape[1] <= chip.node or shape[0] < 1 or (shape[0] > 1 and shape[1] < chip.node):
            raise PartitioningError(
                f"hardware {text!r}: {chip.name} comes as DEVICES of one node, up to {chip.node}, or NODESx{chip.node}"
            )
        if match[3]:
            raise PartitioningError(f"hardware {text!r}: only TPUs have slices; write more nodes, NODESx{chip.node}")
    if count < 1:
        raise PartitioningError(f"hardware {text!r}: at least one slice is needed")
    return Slice(chip, shape, count)


def _check_torus(chip: Chip, shape: tuple[int, ...], text: str) -> None:
    if chip.torus == 2:
        fits = shape in _SHAPES_2D
    else:
        fits = len(shape) == 3 and all(side in (1, 2) or side % 4 == 0 for side in shape)
        fits = fits and all(side > 0 for side in shape) and all(side % 2 == 0 for side in shape[:2])
        fits = fits and math.prod(shape) <= _LARGEST[chip.name]
    if not fits:
        known = ", ".join("x".join(map(str, known)) for known in _shapes(chip))
        raise PartitioningError(f"hardware {text!r}: {chip.name} comes in slices such as {known}")


def _shapes(chip: Chip) -> list[tuple[int, ...]]:
    shapes = _SHAPES_3D if chip.torus == 3 else _SHAPES_2D
    return [shape for shape in shapes if math.prod(shape) <= _LARGEST[chip.name]]


def known_slices(chip: Chip, most: int) -> list[Slice]:
    """Returns what is offered of a chip with up to `most` devices, smallest first."""
    if chip.torus:
        slices = [Slice(chip, shape) for shape in _shapes(chip)]
        largest, count = slices[-1], 2
        while largest.size * count <= most:
            slices.append(Slice(chip, largest.shape, count))
            count *= 2
    else:
        parts = [Slice(chip, (1, size)) for size in (1, 2, 4, 8) if size <= chip.node]
        nodes = [Slice(chip, (2**power, chip.node)) for power in range(1, 20)]
        slices = parts + nodes
    return [slice_ for slice_ in slices if slice_.size <= most]
