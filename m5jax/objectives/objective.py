"""What an objective is: batch in, summed loss and metrics out."""

from typing import Any, NamedTuple, Protocol

from jaxtyping import Array, Float, Key, Num

Batch = dict[str, Num[Array, "batch ..."]]


class Sums(NamedTuple):
    """A weighted sum and the weights' sum. Sums add over accumulation steps, devices and batches; the mean is
    `total / weight`, exact however a batch was split."""

    total: Float[Array, ""]
    weight: Float[Array, ""]


class Objective(Protocol):
    """Computes a loss; frozen, hashable and without arrays of its own.

    Returns the loss as sums and a dict of further metrics as sums.
    """

    def __call__(
        self, module: Any, batch: Batch, dropout_keys: Key[Array, " batch"] | None
    ) -> tuple[Sums, dict[str, Sums]]: ...
