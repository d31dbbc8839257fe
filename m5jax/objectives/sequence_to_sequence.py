"""Prediction of a written sequence from another one, with vocabulary logits of a few positions at a time."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from m5jax.errors import UserError
from m5jax.objectives.language_model import target_logits
from m5jax.objectives.objective import Batch, Sums


@dataclasses.dataclass(frozen=True)
class SequenceToSequence:
    """Mean cross-entropy over targets (T5, arXiv 1910.10683), with optional z-loss and label smoothing.

    The batch has `inputs`, `segment_ids` and `positions` [batch, length], `targets`, `target_segment_ids`,
    `target_positions` and `loss_weights` [batch, target_length]. Logits are made for `chunk_length` positions of each
    row at a time and again in the backward pass, so that [batch, target_length, vocab] is never held.

    Attributes:
      z_loss: weight of `log(sum(exp(logits)))**2`, which keeps logits from drifting (PaLM, arXiv 2204.02311,
        section 5).
      label_smoothing: share of the target's probability spread evenly over the vocabulary (arXiv 1512.00567,
        section 7). Metrics are without it.
      chunk_length: target positions whose logits are held together.
    """

    z_loss: float = 0.0
    label_smoothing: float = 0.0
    chunk_length: int = 32

    def __post_init__(self) -> None:
        if self.z_loss < 0:
            raise UserError(f"SequenceToSequence.z_loss = {self.z_loss}; allowed: 0 and above")
        if not 0.0 <= self.label_smoothing < 1.0:
            raise UserError(
                f"SequenceToSequence.label_smoothing = {self.label_smoothing}; allowed: 0 up to, not including, 1"
            )
        if self.chunk_length < 1:
            raise UserError(f"SequenceToSequence.chunk_length = {self.chunk_length}; a positive integer is needed")

    def __call__(self, module: Any, batch: Batch, dropout_key: Key[Array, ""] | None) -> tuple[Sums, dict[str, Sums]]:
        targets, weights = batch["targets"], batch["loss_weights"]
        hidden = module(
            batch["inputs"],
            batch["segment_ids"],
            batch["positions"],
            shift_right(targets, batch["target_positions"]),
            batch["target_segment_ids"],
            batch["target_positions"],
            dropout_key,
        )

        # Recomputed in the backward pass. The module's parameters are float32 and cast inside, so that their gradients
        # add up over chunks in float32.
        @jax.checkpoint
        def sums_of(chunk: tuple[Array, ...]) -> Float[Array, "3"]:
            states, chunk_targets, chunk_weights = chunk
            return self._sums(module.logits(states), chunk_targets, chunk_weights)

        def add(sums: Array, chunk: tuple[Array, ...]) -> tuple[Array, None]:
            return sums + sums_of(chunk), None

        chunks = tuple(_chunks(x, self.chunk_length) for x in (hidden, targets, weights))
        objective, loss, correct = jax.lax.scan(add, jnp.zeros(3, jnp.float32), chunks)[0]
        weight = jnp.sum(weights)
        return Sums(objective, weight), {"loss": Sums(loss, weight), "accuracy": Sums(correct, weight)}

    def _sums(
        self,
        logits: Float[Array, "batch length vocab"],
        targets: Int[Array, "batch length"],
        weights: Float[Array, "batch length"],
    ) -> Float[Array, "3"]:
        """Returns the weighted sums of objective, cross-entropy and correct predictions."""
        chosen = target_logits(logits, targets)
        normalizer = jax.nn.logsumexp(logits, axis=-1)
        loss = objective = normalizer - chosen
        if self.label_smoothing:
            objective = objective + self.label_smoothing * (chosen - jnp.mean(logits, axis=-1))
        if self.z_loss:
            objective = objective + self.z_loss * jnp.square(normalizer)
        # An exact tie for the highest counts as correct.
        correct = (chosen == jnp.max(logits, axis=-1)).astype(jnp.float32)
        return jnp.stack([jnp.sum(value * weights) for value in (objective, loss, correct)])


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
