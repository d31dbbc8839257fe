"""Masked language modelling (BERT, arXiv 1810.04805) with logits at the masked positions only."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from m5jax.errors import UserError
from m5jax.objectives.objective import Batch, Sums


@dataclasses.dataclass(frozen=True)
class MaskedLanguageModel:
    """Mean cross-entropy over predicted tokens, with an optional z-loss.

    Attributes:
      z_loss: weight of `log(sum(exp(logits)))**2`, which keeps logits from drifting (PaLM, arXiv 2204.02311,
        section 5).
    """

    z_loss: float = 0.0

    def __post_init__(self) -> None:
        if self.z_loss < 0:
            raise UserError(f"MaskedLanguageModel.z_loss = {self.z_loss}; allowed: 0 and above")

    def __call__(self, module: Any, batch: Batch, dropout_key: Key[Array, ""] | None) -> tuple[Sums, dict[str, Sums]]:
        hidden = module(batch["inputs"], batch["segment_ids"], batch["positions"], dropout_key)
        logits = module.masked_lm_logits(hidden, batch["masked_positions"])
        chosen = target_logits(logits, batch["targets"])
        normalizer = jax.nn.logsumexp(logits, axis=-1)
        loss = normalizer - chosen
        weights = batch["loss_weights"]
        weight = jnp.sum(weights)
        # Not by argmax, which XLA's CPU backend does not vectorize. An exact tie for the highest counts as correct.
        correct = (chosen == jnp.max(logits, axis=-1)).astype(jnp.float32)
        metrics = {
            "loss": Sums(jnp.sum(loss * weights), weight),
            "accuracy": Sums(jnp.sum(correct * weights), weight),
        }
        objective = loss + self.z_loss * jnp.square(normalizer) if self.z_loss else loss
        return Sums(jnp.sum(objective * weights), weight), metrics


def target_logits(
    logits: Float[Array, "batch budget vocab"], targets: Int[Array, "batch budget"]
) -> Float[Array, "batch budget"]:
    """Returns the logit of each target."""
    return jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
