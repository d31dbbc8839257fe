"""What one step of a model computes and holds, described without the model: the planner's view of it.

Counts are of one row of the batch, in multiplications, each two FLOPs.
"""

import dataclasses
import math
from collections.abc import Sequence

MOST_SCORES = 2**24  # of a row and head that attention holds together


@dataclasses.dataclass(frozen=True)
class Stack:
    """Equal layers, run by one scan.

    Attributes:
      path: where its parameters stand in the model's.
      layers: how many.
      width: size of a token's state.
      heads, kv_heads, head_dim: of attention.
      mlp_hidden: hidden units of the gated MLP.
      length: tokens a row.
      keys: tokens that one has scores of in self-attention, mean over the layers.
      crossed: tokens of the row of another stack that all attend to; 0: none.
      local: whether some layers see near tokens only.
      biased: whether scores have a learned bias, the same for all rows.
      fused: whether attention moves no scores through memory; None: where the platform's own does not.
    """

    path: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_hidden: int
    length: float
    keys: float
    crossed: float = 0
    local: bool = False
    biased: bool = False
    fused: bool | None = None

    @property
    def projections(self) -> float:
        """Multiplications of a layer's products of states with queries', keys', values' and outputs' kernels."""
        own = 2 * self.width * (self.heads + self.kv_heads) * self.head_dim * self.length
        if not self.crossed:
            return float(own)
        of_token, of_crossed = self.heads * self.length, self.kv_heads * self.crossed
        return float(own + 2 * self.width * self.head_dim * (of_token + of_crossed))

    @property
    def scores(self) -> float:
        """Multiplications of a layer's scores; as many again are of weighted sums."""
        return self.heads * self.head_dim * self.length * (self.keys + self.crossed)

    def moves_scores(self, platform: str) -> bool:
        """Returns whether scores go through memory: but for cuDNN's attention, which has no bias, they do."""
        return not self.fused if self.fused is not None else platform == "tpu" or self.biased

    @property
    def mlp(self) -> float:
        """Multiplications of a layer's MLP."""
        return 3.0 * self.width * self.mlp_hidden * self.length

    @property
    def products(self) -> float:
        """Multiplications of all layers."""
        return self.layers * (self.projections + 2 * self.scores + self.mlp)

    def recomputed_in_turn(self, remat: Sequence[str]) -> float:
        """Returns the multiplications that the backward pass of all layers makes again under policies in turn."""
        return self.layers * sum(self.recomputed(policy) for policy in remat) / len(remat)

    def recomputed(self, policy: str) -> float:
        """Returns the multiplications that the backward pass of a layer makes again under a policy of `REMAT_POLICIES`.

        Nobody needs the MLP's last product again: the next layer's input is kept.
        """
        output = self.width * self.heads * self.head_dim * self.length * (2 if self.crossed else 1)
        up = self.mlp * 2 / 3
        return {
            "none": 0.0,
            "dots": 2 * self.scores,
            "attention_saved": self.scores + output + up,
            "full": self.projections + 2 * self.scores + up,
            "offload": self.projections + 2 * self.scores + up,
        }[policy]


@dataclasses.dataclass(frozen=True)
class Head:
    """Logits of the predicted tokens.

    Attributes:
      width, vocab_size: of the product.
      positions: predicted a row.
      dense: whether a square product stands before.
    """

    width: int
    vocab_size: int
    positions: float
    dense: bool

    @property
    def products(self) -> float:
        """Multiplications of a row."""
        return float(self.positions * self.width * (self.vocab_size + (self.width if self.dense else 0)))


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One parameter: its shape, and a logical axis for each dimension."""

    path: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def stacked(self) -> bool:
        """Whether it holds a layer each."""
        return self.axes[0] == "layers"


@dataclasses.dataclass(frozen=True)
class Workload:
    """A model and the rows it is trained on."""

    stacks: tuple[Stack, ...]
    head: Head
    tensors: tuple[Tensor, ...]

    @property
    def parameters(self) -> int:
        return sum(tensor.size for tensor in self.tensors)

    @property
    def tokens(self) -> float:
        """Of a row, of all stacks."""
        return sum(stack.length for stack in self.stacks)

    @property
    def products(self) -> float:
        """Multiplications of the forward pass of a row."""
        return sum(stack.products for stack in self.stacks) + self.head.products

    @property
    def flops(self) -> float:
        """FLOPs of forward and backward of a row, three times the forward (arXiv 2204.02311, appendix B)."""
        return 6.0 * self.products

    def recomputed_flops(self, remat: Sequence[str]) -> float:
        """Returns the FLOPs of a row that the backward pass makes again when layers take policies in turn: theirs, and
        logits, which are made in chunks."""
        return 2.0 * (sum(stack.recomputed_in_turn(remat) for stack in self.stacks) + self.head.products)
