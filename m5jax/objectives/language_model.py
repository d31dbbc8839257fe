"""Prediction of tokens: masked, prefix and causal language modelling, with logits at the predicted positions only."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from m5jax.errors import UserError
from m5jax.objectives.objective import Batch, Sums


@dataclasses.dataclass(frozen=True)
class LanguageModel:
    """Mean cross-entropy over predicted tokens, with an optional z-loss.

    What is predicted where, and which tokens are bidirectional, is in the batch: masked LM (BERT, arXiv 1810.04805)
    predicts a masked token at its place, prefix LM (T5, arXiv 1910.10683, section 3.2.3) each target at the one before.

    Attributes:
      z_loss: weight of `log(sum(exp(logits)))**2`, which keeps logits from drifting (PaLM, arXiv 2204.02311,
        section 5).
      task_weights: of the loss of a task or mixture's predictions, by name; 1 where none is given. Metrics are of
        unweighted predictions.
      tasks: names for the numbers in the batch's `task_ids`, whose loss and accuracy are metrics of their own; set by
        the launch where there are several.
      weights: of the same tasks, from `task_weights`; also set by the launch.
    """

    z_loss: float = 0.0
    task_weights: Mapping[str, float] = dataclasses.field(default_factory=dict, hash=False)
    tasks: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.z_loss < 0:
            raise UserError(f"LanguageModel.z_loss = {self.z_loss}; allowed: 0 and above")
        for name, weight in self.task_weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise UserError(f"LanguageModel.task_weights: {name} has {weight}; allowed: 0 and above")

    def __call__(self, module: Any, batch: Batch, dropout_key: Key[Array, ""] | None) -> tuple[Sums, dict[str, Sums]]:
        logits = predicted_logits(module, batch, dropout_key)
        chosen = target_logits(logits, batch["targets"])
        normalizer = jax.nn.logsumexp(logits, axis=-1)
        loss = normalizer - chosen
        weights = batch["loss_weights"]
        # Not by argmax, which XLA's CPU backend does not vectorize. An exact tie for the highest counts as correct.
        correct = (chosen == jnp.max(logits, axis=-1)).astype(jnp.float32)
        metrics = _metrics(loss, correct, weights)
        for number, task in enumerate(self.tasks):
            own = jnp.where(batch["task_ids"] == number, weights, 0.0)
            metrics |= {f"{task}/{name}": sums for name, sums in _metrics(loss, correct, own).items()}
        objective = loss + self.z_loss * jnp.square(normalizer) if self.z_loss else loss
        if self.weights:
            weights = weights * jnp.array(self.weights)[batch["task_ids"]]
        return Sums(jnp.sum(objective * weights), jnp.sum(weights)), metrics


def predicted_logits(
    module: Any, batch: Batch, dropout_key: Key[Array, ""] | None
) -> Float[Array, "batch budget vocab"]:
    """Returns float32 logits at the predicted positions of a batch."""
    hidden = module(batch["inputs"], batch["segment_ids"], batch["positions"], dropout_key, batch.get("bidirectional"))
    return module.token_logits(hidden, batch["predicted_positions"])


def _metrics(
    loss: Float[Array, "batch budget"], correct: Float[Array, "batch budget"], weights: Float[Array, "batch budget"]
) -> dict[str, Sums]:
    weight = jnp.sum(weights)
    return {
        "loss": Sums(jnp.sum(loss * weights), weight),
        "accuracy": Sums(jnp.sum(correct * weights), weight),
    }


def target_logits(
    logits: Float[Array, "batch budget vocab"], targets: Int[Array, "batch budget"]
) -> Float[Array, "batch budget"]:
    """Returns the logit of each target."""
    return jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
