"""The maximal-update parametrization: a rate that is best for a narrow model is best for a wide one (arXiv 2203.03466).

What differs from the standard one, of a model `m = width / base_width` times as wide as its base (table 8, Adam):
embeddings start as large as the base's, logits are divided by `m`, attention scores shrink with the head's size instead
of its root, and matrices from width to width take updates `m` times smaller (`m5jax.training.optimizers`). Of the base
itself both are the same.
"""

import dataclasses

from m5jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class MaximalUpdate:
    """The model for which rates are tuned.

    Other dims are taken to grow in proportion to the width: `heads * head_dim`, `kv_heads * head_dim` and `mlp_hidden`;
    depth not at all. The epsilon of an optimizer is not scaled: let it be far below the gradients of the widest model.

    Attributes:
      base_width: its width.
      base_head_dim: the size of its heads.
    """

    base_width: int
    base_head_dim: int

    def __post_init__(self) -> None:
        if self.base_width < 1 or self.base_head_dim < 1:
            raise UserError(
                f"MaximalUpdate(base_width={self.base_width}, base_head_dim={self.base_head_dim}); positive integers "
                "are needed"
            )


def is_matrix(logical_axes: tuple[str, ...]) -> bool:
    """Returns whether both sides of a parameter grow with the width (arXiv 2203.03466, appendix B: "matrix-like")."""
    return "embed" in logical_axes and bool({"heads", "kv_heads", "mlp"} & set(logical_axes))
