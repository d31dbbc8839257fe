"""Training of a classifier: classes of sequences and tags of tokens, a yes or no, or a number."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from m5jax.errors import UserError
from m5jax.objectives.objective import Batch, Sums


@dataclasses.dataclass(frozen=True)
class Classification:
    """Mean cross-entropy of classes over rows, plus that of tags over tokens that have one (joint intents and slots:
    arXiv 1902.10909).

    The batch has `inputs` and `segment_ids` [batch, length], `labels` int32 [batch], `tags` int32 [batch, length] (-1:
    none; absent where the model has no tags), and `weights` [batch]. Where gradients of parts of a batch are added up,
    the mean over tags is that of each part.

    Attributes:
      label_smoothing: share of the target's probability spread evenly over the classes (arXiv 1512.00567, section 7).
      tag_weight: of the mean over tags, where that over classes has 1.
    """

    label_smoothing: float = 0.0
    tag_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.label_smoothing < 1.0:
            raise UserError(
                f"Classification.label_smoothing = {self.label_smoothing}; allowed: 0 up to, not including, 1"
            )
        if not 0 < self.tag_weight < math.inf:
            raise UserError(f"Classification.tag_weight = {self.tag_weight}; allowed: above 0")

    def __call__(
        self, module: Any, batch: Batch, dropout_keys: Key[Array, " batch"] | None
    ) -> tuple[Sums, dict[str, Sums]]:
        logits, weights = module(batch["inputs"], batch["segment_ids"], dropout_keys), batch["weights"]
        rows = jnp.sum(weights)
        total, metrics = jnp.zeros(()), {}
        if logits.classes is not None:
            losses, correct = self._losses(logits.classes, batch["labels"])
            total += jnp.sum(losses * weights) / jnp.maximum(rows, 1e-9)
            metrics["accuracy"] = Sums(jnp.sum(correct * weights), rows)
        if logits.tags is not None:
            tagged = weights[:, None] * (batch["tags"] >= 0)
            losses, correct = self._losses(logits.tags, jnp.maximum(batch["tags"], 0))
            mean = jnp.sum(losses * tagged) / jnp.maximum(jnp.sum(tagged), 1e-9)
            total += self.tag_weight * mean
            metrics["tag_accuracy"] = Sums(jnp.sum(correct * tagged), jnp.sum(tagged))
        loss = Sums(total * rows, rows)
        return loss, {"loss": loss, **metrics}

    def _losses(
        self, logits: Float[Array, "*batch classes"], targets: Int[Array, "*batch"]
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        log_shares = jax.nn.log_softmax(logits)
        chosen = jnp.take_along_axis(log_shares, targets[..., None], axis=-1)[..., 0]
        losses = -(1.0 - self.label_smoothing) * chosen - self.label_smoothing * jnp.mean(log_shares, axis=-1)
        return losses, (jnp.argmax(logits, axis=-1) == targets).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class YesOrNo:
    """Mean binary cross-entropy of a model's one logit with `labels`, 0 to 1.

    Attributes:
      positive_weight: of a yes, where a no has 1.
    """

    positive_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.positive_weight < math.inf:
            raise UserError(f"YesOrNo.positive_weight = {self.positive_weight}; allowed: above 0")

    def __call__(
        self, module: Any, batch: Batch, dropout_keys: Key[Array, " batch"] | None
    ) -> tuple[Sums, dict[str, Sums]]:
        logits = module(batch["inputs"], batch["segment_ids"], dropout_keys).classes[:, 0]
        labels = batch["labels"]
        weights = batch["weights"] * (1.0 + labels * (self.positive_weight - 1.0))
        loss = _mean(jax.nn.softplus(logits) - labels * logits, weights)
        correct = ((logits > 0) == (labels > 0.5)).astype(jnp.float32)
        return loss, {"loss": loss, "accuracy": _mean(correct, batch["weights"])}


@dataclasses.dataclass(frozen=True)
class Regression:
    """Mean squared error of a model's one output with `labels`."""

    def __call__(
        self, module: Any, batch: Batch, dropout_keys: Key[Array, " batch"] | None
    ) -> tuple[Sums, dict[str, Sums]]:
        outputs = module(batch["inputs"], batch["segment_ids"], dropout_keys).classes[:, 0]
        loss = _mean(jnp.square(outputs - batch["labels"]), batch["weights"])
        return loss, {"loss": loss}


def _mean(values: Float[Array, " rows"], weights: Float[Array, " rows"]) -> Sums:
    return Sums(jnp.sum(values * weights), jnp.sum(weights))
