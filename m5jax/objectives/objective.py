"""What an objective is: batch in, summed loss and metrics out."""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Num

Batch = dict[str, Num[Array, "batch ..."]]


class Sums(NamedTuple):
    """A weighted sum and the weights' sum. Sums add over accumulation steps, devices and batches; the mean is
    `total / weight`, exact however a batch was split."""

    total: Float[Array, ""]
    weight: Float[Array, ""]


def weighted(values: Float[Array, "*batch"], weights: Float[Array, "*batch"]) -> Sums:
    """Returns values summed by their weights."""
    return Sums(jnp.sum(values * weights), jnp.sum(weights))


def binary_cross_entropy(
    logits: Float[Array, " rows"],
    labels: Float[Array, " rows"],
    weights: Float[Array, " rows"],
    positive_weight: float,
) -> Sums:
    """Returns the loss of the logits of a yes, of labels from 0 to 1; a yes counts `positive_weight` times."""
    losses = jax.nn.softplus(logits) - labels * logits
    return weighted(losses, weights * (1.0 + labels * (positive_weight - 1.0)))


class Objective(Protocol):
    """Computes a loss; frozen, hashable and without arrays of its own.

    Returns the loss as sums and a dict of further metrics as sums.
    """

    def __call__(
        self, module: Any, batch: Batch, dropout_keys: Key[Array, " batch"] | None
    ) -> tuple[Sums, dict[str, Sums]]: ...
