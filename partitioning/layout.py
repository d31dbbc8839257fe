"""How a step is laid out on a mesh: what the planner chooses."""

import dataclasses

from partitioning.mesh import MeshConfig

OPTIMIZERS = ("adamw", "adafactor")


@dataclasses.dataclass(frozen=True)
class Layout:
    """A mesh and how memory is spent on it.

    Attributes:
      mesh: devices along each axis, none -1.
      accumulation: parts a batch is computed in.
      remat: policies that layers take in turn (`m5jax.models.stack.REMAT_POLICIES`).
      optimizer: one of `OPTIMIZERS`.
      chunk: predicted positions of a row whose logits are held together.
      microbatches: parts of each of those that pass the stages of a pipeline; 1 without one.
      rounds: how often these pass all stages.
    """

    mesh: MeshConfig
    accumulation: int = 1
    remat: tuple[str, ...] = ("full",)
    optimizer: str = "adamw"
    chunk: int = 32
    microbatches: int = 1
    rounds: int = 1

    @property
    def passes(self) -> int:
        """How often a device runs the layers that it has for a micro-batch, those at the ends that are waste too."""
        return self.rounds * self.microbatches + self.mesh.pipeline - 1
