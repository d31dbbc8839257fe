"""Prediction of a written sequence from another one, with vocabulary logits of a few positions at a time."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from m5jax.errors import UserError
from m5jax.objectives.objective import Batch, Sums
from m5jax.objectives.token_objective import TokenLosses, TokenObjective, target_logits

CHUNK_LENGTH = 32


@dataclasses.dataclass(frozen=True)
class SequenceToSequence(TokenObjective):
    """Mean cross-entropy over targets (T5, arXiv 1910.10683), with optional z-loss and label smoothing.

    The batch has `inputs`, `segment_ids` and `positions` [batch, length], `targets`, `target_segment_ids`,
    `target_positions` and `loss_weights` [batch, target_length]. Logits are made for `chunk_length` positions of each
    row at a time and again in the backward pass, so that [batch, target_length, vocab] is never held.

    Attributes:
      label_smoothing: share of the target's probability spread evenly over the vocabulary (arXiv 1512.00567,
        section 7). Metrics are without it.
      chunk_length: target positions whose logits are held together.
    """

    label_smoothing: float = 0.0
    chunk_length: int = CHUNK_LENGTH

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.label_smoothing < 1.0:
            raise UserError(
                f"SequenceToSequence.label_smoothing = {self.label_smoothing}; allowed: 0 up to, not including, 1"
            )
        if self.chunk_length < 1:
            raise UserError(f"SequenceToSequence.chunk_length = {self.chunk_length}; a positive integer is needed")

    def __call__(self, module: Any, batch: Batch, dropout_key: Key[Array, ""] | None) -> tuple[Sums, dict[str, Sums]]:
        def losses_of(logits: Array, targets: Array) -> TokenLosses:
            losses = self.token_losses(logits, targets)
            if not self.label_smoothing:
                return losses
            # The mean loss over the vocabulary less that of the target.
            spread = target_logits(logits, targets) - jnp.mean(logits, axis=-1)
            return losses._replace(objective=losses.objective + self.label_smoothing * spread)

        hidden = target_states(module, batch, dropout_key)
        return self.sums(map_logits(module, hidden, losses_of, batch["targets"], self.chunk_length), batch)


def target_states(
    module: Any, batch: Batch, dropout_key: Key[Array, ""] | None
) -> Float[Array, "batch target_length embed"]:
    """Returns the decoder's states that predict the targets of a batch, given the targets before each."""
    return module(
        batch["inputs"],
        batch["segment_ids"],
        batch["positions"],
        shift_right(batch["targets"], batch["target_positions"]),
        batch["target_segment_ids"],
        batch["target_positions"],
        dropout_key,
    )


def map_logits(
    module: Any,
    hidden: Float[Array, "batch length embed"],
    function: Callable[[Array, Array], Any],
    targets: Int[Array, "batch length"],
    chunk_length: int = CHUNK_LENGTH,
) -> Any:
    """Returns what `function` makes of the logits and targets of `chunk_length` positions at a time: arrays [batch,
    length]. Logits are made again in the backward pass."""

    # The module's parameters are float32 and cast inside, so that their gradients add up over chunks in float32.
    @jax.checkpoint
    def of_chunk(chunk: tuple[Array, Array]) -> Any:
        states, chunk_targets = chunk
        return function(module.logits(states), chunk_targets)

    mapped = jax.lax.map(of_chunk, (_chunks(hidden, chunk_length), _chunks(targets, chunk_length)))
    rows, length = targets.shape
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(rows, -1)[:, :length], mapped)


def shift_right(
    targets: Int[Array, "batch length"], target_positions: Int[Array, "batch length"]
) -> Int[Array, "batch length"]:
    """Returns what the decoder reads: the target before each place, and 0 at the start of each packed segment."""
    return jnp.where(target_positions == 0, 0, jnp.roll(targets, 1, axis=1))


def _chunks(x: Array, length: int) -> Array:
    """Returns [chunks, batch, chunk, ...] of [batch, length, ...], zeros at the end; rows stay on their devices."""
    chunk = min(length, x.shape[1])
    count = -(-x.shape[1] // chunk)
    padded = jnp.pad(x, [(0, 0), (0, count * chunk - x.shape[1])] + [(0, 0)] * (x.ndim - 2))
    return jnp.moveaxis(padded.reshape(x.shape[0], count, chunk, *x.shape[2:]), 1, 0)
