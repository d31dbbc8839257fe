"""Training of a classifier: classes of sequences and tags of tokens, a yes or no, or a number."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from m5jax.errors import check_above_zero, check_below_one
from m5jax.objectives.objective import Batch, Sums, binary_cross_entropy, weighted


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
        check_below_one(self, "label_smoothing")
        check_above_zero(self, "tag_weight")

    def __call__(
        self, module: Any, batch: Batch, dropout_keys: Key[Array, " batch"] | None
    ) -> tuple[Sums, dict[str, Sums]]:
        logits, weights = module(batch["inputs"], batch["segment_ids"], dropout_keys), batch["weights"]
        rows = jnp.sum(weights)
        total, metrics = jnp.zeros(()), {}
        if logits.classes is not None:
            losses, correct = self._losses(logits.classes, batch["labels"])
            total += jnp.sum(losses * weights) / jnp.maximum(rows, 1e-9)
            metrics["accuracy"] = weighted(correct, weights)
        if logits.tags is not None:
            tagged = weights[:, None] * (batch["tags"] >= 0)
            losses, correct = self._losses(logits.tags, jnp.maximum(batch["tags"], 0))
            mean = jnp.sum(losses * tagged) / jnp.maximum(jnp.sum(tagged), 1e-9)
            total += self.tag_weight * mean
            metrics["tag_accuracy"] = weighted(correct, tagged)
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
        check_above_zero(self, "positive_weight")

    def __call__(
        self, module: Any, batch: Batch, dropout_keys: Key[Array, " batch"] | None
    ) -> tuple[Sums, dict[str, Sums]]:
        logits = module(batch["inputs"], batch["segment_ids"], dropout_keys).classes[:, 0]
        labels, weights = batch["labels"], batch["weights"]
        loss = binary_cross_entropy(logits, labels, weights, self.positive_weight)
        correct = ((logits > 0) == (labels > 0.5)).astype(jnp.float32)
        return loss, {"loss": loss, "accuracy": weighted(correct, weights)}


@dataclasses.dataclass(frozen=True)
class Regression:
    """Mean squared error of a model's one output with `labels`."""

    def __call__(
        self, module: Any, batch: Batch, dropout_keys: Key[Array, " batch"] | None
    ) -> tuple[Sums, dict[str, Sums]]:
        outputs = module(batch["inputs"], batch["segment_ids"], dropout_keys).classes[:, 0]
        loss = weighted(jnp.square(outputs - batch["labels"]), batch["weights"])
        return loss, {"loss": loss}
