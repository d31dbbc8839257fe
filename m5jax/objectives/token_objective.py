"""What objectives over predicted tokens share: z-loss, weights of tasks, and metrics of each task."""

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from m5jax.errors import UserError, check_least
from m5jax.objectives.objective import Batch, Sums, weighted


class TokenLosses(NamedTuple):
    """Of each predicted token: its cross-entropy, what training minimizes, and 1 where the prediction is right."""

    loss: Float[Array, "batch budget"]
    objective: Float[Array, "batch budget"]
    correct: Float[Array, "batch budget"]


@dataclasses.dataclass(frozen=True)
class TokenObjective:
    """Mean over predicted tokens.

    Attributes:
      z_loss: weight of `log(sum(exp(logits)))**2`, which keeps logits from drifting (PaLM, arXiv 2204.02311,
        section 5).
      chunk_length: predicted positions of a row whose logits are held together, and made again in the backward pass;
        0: all.
      task_weights: of the loss of a task or mixture's predictions, by name; 1 where none is given. Metrics are of
        unweighted predictions.
      tasks: names for the numbers in the batch's `task_ids`, whose loss and accuracy are metrics of their own; set by
        the launch where there are several.
      weights: of the same tasks, from `task_weights`; also set by the launch.
    """

    z_loss: float = 0.0
    chunk_length: int = 0
    task_weights: Mapping[str, float] = dataclasses.field(default_factory=dict, hash=False)
    tasks: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_least(self, z_loss=0, chunk_length=0)
        for task, weight in self.task_weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise UserError(f"{type(self).__name__}.task_weights: {task} has {weight}; allowed: 0 and above")

    def token_losses(
        self, logits: Float[Array, "batch budget vocab"], targets: Int[Array, "batch budget"]
    ) -> TokenLosses:
        """Returns the losses of float32 logits."""
        chosen = target_logits(logits, targets)
        normalizer = jax.nn.logsumexp(logits, axis=-1)
        loss = normalizer - chosen
        objective = loss + self.z_loss * jnp.square(normalizer) if self.z_loss else loss
        # Not by argmax, which XLA's CPU backend does not vectorize. An exact tie for the highest counts as correct.
        correct = (chosen == jnp.max(logits, axis=-1)).astype(jnp.float32)
        return TokenLosses(loss, objective, correct)

    def sums(self, losses: TokenLosses, batch: Batch) -> tuple[Sums, dict[str, Sums]]:
        """Returns the loss of a batch and its metrics."""
        weights = batch["loss_weights"]
        metrics = _metrics(losses, weights)
        for number, task in enumerate(self.tasks):
            own = jnp.where(batch["task_ids"] == number, weights, 0.0)
            metrics |= {f"{task}/{name}": sums for name, sums in _metrics(losses, own).items()}
        if self.weights:
            weights = weights * jnp.array(self.weights)[batch["task_ids"]]
        return weighted(losses.objective, weights), metrics


def target_logits(
    logits: Float[Array, "batch budget vocab"], targets: Int[Array, "batch budget"]
) -> Float[Array, "batch budget"]:
    """Returns the logit of each target."""
    return jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]


def _metrics(losses: TokenLosses, weights: Float[Array, "batch budget"]) -> dict[str, Sums]:
    return {"loss": weighted(losses.loss, weights), "accuracy": weighted(losses.correct, weights)}
