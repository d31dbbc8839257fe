"""Prediction of tokens: masked, prefix and causal language modelling, with logits at the predicted positions only."""

import dataclasses
from typing import Any

from jaxtyping import Array, Float, Key

from m5jax.objectives.objective import Batch, Sums
from m5jax.objectives.token_objective import TokenObjective


@dataclasses.dataclass(frozen=True)
class LanguageModel(TokenObjective):
    """Mean cross-entropy over predicted tokens, with an optional z-loss.

    What is predicted where, and which tokens are bidirectional, is in the batch: masked LM (BERT, arXiv 1810.04805)
    predicts a masked token at its place, prefix LM (T5, arXiv 1910.10683, section 3.2.3) each target at the one before.
    """

    def __call__(self, module: Any, batch: Batch, dropout_key: Key[Array, ""] | None) -> tuple[Sums, dict[str, Sums]]:
        logits = predicted_logits(module, batch, dropout_key)
        return self.sums(self.token_losses(logits, batch["targets"]), batch)


def predicted_logits(
    module: Any, batch: Batch, dropout_key: Key[Array, ""] | None
) -> Float[Array, "batch budget vocab"]:
    """Returns float32 logits at the predicted positions of a batch."""
    hidden = module(batch["inputs"], batch["segment_ids"], batch["positions"], dropout_key, batch.get("bidirectional"))
    return module.token_logits(hidden, batch["predicted_positions"])
