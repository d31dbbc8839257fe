"""Prediction of tokens: masked, prefix and causal language modelling, with logits at the predicted positions only."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from m5jax.objectives.chunked_logits import map_logits
from m5jax.objectives.objective import Batch, Sums
from m5jax.objectives.token_objective import TokenObjective


@dataclasses.dataclass(frozen=True)
class LanguageModel(TokenObjective):
    """Mean cross-entropy over predicted tokens, with an optional z-loss.

    What is predicted where, and which tokens are bidirectional, is in the batch: masked LM (BERT, arXiv 1810.04805)
    predicts a masked token at its place, prefix LM (T5, arXiv 1910.10683, section 3.2.3) each target at the one before.
    """

    def __call__(
        self, module: Any, batch: Batch, dropout_keys: Key[Array, " batch"] | None
    ) -> tuple[Sums, dict[str, Sums]]:
        hidden = predicted_states(module, batch, dropout_keys)
        losses = map_logits(module, hidden, self.token_losses, batch["targets"], self.chunk_length)
        return self.sums(losses, batch)


def predicted_states(
    module: Any, batch: Batch, dropout_keys: Key[Array, " batch"] | None
) -> Float[Array, "batch budget embed"]:
    """Returns a model's states at the predicted positions of a batch; logits are made of these only."""
    hidden = module(batch["inputs"], batch["segment_ids"], batch["positions"], dropout_keys, batch.get("bidirectional"))
    return jnp.take_along_axis(hidden, batch["predicted_positions"][..., None], axis=1)
