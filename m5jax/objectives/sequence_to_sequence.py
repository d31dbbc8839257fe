"""Prediction of a written sequence from another one, with vocabulary logits of a few positions at a time."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from m5jax.errors import check_below_one
from m5jax.objectives.chunked_logits import CHUNK_LENGTH, map_logits
from m5jax.objectives.objective import Batch, Sums
from m5jax.objectives.token_objective import TokenLosses, TokenObjective, target_logits


@dataclasses.dataclass(frozen=True)
class SequenceToSequence(TokenObjective):
    """Mean cross-entropy over targets (T5, arXiv 1910.10683), with optional z-loss and label smoothing.

    The batch has `inputs`, `segment_ids` and `positions` [batch, length], `targets`, `target_segment_ids`,
    `target_positions` and `loss_weights` [batch, target_length].

    Attributes:
      label_smoothing: share of the target's probability spread evenly over the vocabulary (arXiv 1512.00567,
        section 7). Metrics are without it.
    """

    label_smoothing: float = 0.0
    chunk_length: int = CHUNK_LENGTH

    def __post_init__(self) -> None:
        super().__post_init__()
        check_below_one(self, "label_smoothing")

    def __call__(
        self, module: Any, batch: Batch, dropout_keys: Key[Array, " batch"] | None
    ) -> tuple[Sums, dict[str, Sums]]:
        def losses_of(logits: Array, targets: Array) -> TokenLosses:
            losses = self.token_losses(logits, targets)
            if not self.label_smoothing:
                return losses
            # The mean loss over the vocabulary less that of the target.
            spread = target_logits(logits, targets) - jnp.mean(logits, axis=-1)
            return losses._replace(objective=losses.objective + self.label_smoothing * spread)

        hidden = target_states(module, batch, dropout_keys)
        return self.sums(map_logits(module, hidden, losses_of, batch["targets"], self.chunk_length), batch)


def target_states(
    module: Any, batch: Batch, dropout_keys: Key[Array, " batch"] | None
) -> Float[Array, "batch target_length embed"]:
    """Returns the decoder's states that predict the targets of a batch, given the targets before each."""
    return module(
        batch["inputs"],
        batch["segment_ids"],
        batch["positions"],
        shift_right(batch["targets"], batch["target_positions"]),
        batch["target_segment_ids"],
        batch["target_positions"],
        dropout_keys,
    )


def shift_right(
    targets: Int[Array, "batch length"], target_positions: Int[Array, "batch length"]
) -> Int[Array, "batch length"]:
    """Returns what the decoder reads: the target before each place, and 0 at the start of each packed segment."""
    return jnp.where(target_positions == 0, 0, jnp.roll(targets, 1, axis=1))
