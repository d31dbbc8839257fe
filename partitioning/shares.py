"""What one device of a mesh has of a workload: rows, tokens, heads, and bytes of each parameter."""

import dataclasses
import functools
import math

from partitioning.layout import Layout
from partitioning.rules import partition_spec, split_axes
from partitioning.workload import Head, Stack, Tensor

FLOAT32, BFLOAT16 = 4, 2
_GATHERED = ("fsdp", "sequence")


@dataclasses.dataclass(frozen=True)
class Share:
    """Of one device, in one part of an accumulated batch.

    Attributes:
      rows: of the batch, outside the layers.
      stage_rows: of a micro-batch, in the layers.
      mesh: devices along each axis, by name.
    """

    rows: float
    stage_rows: float
    mesh: dict[str, int]

    @classmethod
    def of(cls, layout: Layout, batch_size: int) -> "Share":
        """Returns the share of a global batch."""
        mesh = layout.mesh.sizes
        rows = batch_size / (mesh["data"] * mesh["fsdp"] * layout.accumulation)
        return cls(rows / mesh["pipeline"], rows / layout.microbatches, mesh)

    @property
    def tensor(self) -> int:
        """Parts that heads, hidden units and vocabulary are cut into."""
        return self.mesh["tensor"]

    def split(self, dimension: int) -> float:
        """Returns a dimension that is split over `tensor`: its part, or the whole where it does not divide."""
        return dimension / self.tensor if dimension % self.tensor == 0 else dimension

    def vocabulary(self, head: Head) -> float:
        """Returns the pieces whose logits a device makes."""
        parts = self.tensor * self.mesh["sequence"]
        return head.vocab_size / parts if head.vocab_size % parts == 0 else self.split(head.vocab_size)

    def tokens(self, stack: Stack) -> float:
        """Returns the tokens of a stack's rows, of a micro-batch."""
        return self.stage_rows * stack.length / self.parts(stack)

    def parts(self, stack: Stack) -> int:
        """Returns into how many parts the tokens of a stack's row are cut."""
        parts = self.mesh["sequence"]
        return parts if stack.length % parts == 0 else 1

    def shards(self, tensor: Tensor) -> int:
        """Returns into how many parts a parameter is cut."""
        return math.prod(size for _, size in self._cuts(tensor))

    def gathered_shards(self, tensor: Tensor) -> int:
        """Returns into how many parts a parameter is cut while it is used: `fsdp` and `sequence` are gathered."""
        return math.prod(size for axis, size in self._cuts(tensor) if axis not in _GATHERED)

    def is_gathered(self, tensor: Tensor) -> bool:
        """Returns whether a parameter is split over axes that are gathered."""
        return any(axis in _GATHERED for axis, _ in self._cuts(tensor))

    def _cuts(self, tensor: Tensor) -> tuple[tuple[str, int], ...]:
        return _cuts(tensor.axes, tensor.shape, tuple(self.mesh.items()))


@functools.cache
def _cuts(
    axes: tuple[str, ...], shape: tuple[int, ...], mesh: tuple[tuple[str, int], ...]
) -> tuple[tuple[str, int], ...]:
    """Returns the mesh axes over which a parameter is split, and their sizes."""
    sizes = dict(mesh)
    spec = partition_spec(axes, shape, sizes)
    return tuple((name, sizes[name]) for entry in spec for name in split_axes(entry))
