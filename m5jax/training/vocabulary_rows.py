"""Parameters with a row for each id of a vocabulary, rearranged for another vocabulary."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def rearrange_rows(
    old: Float[Array, "old_rows ..."], drawn: Float[Array, "rows ..."], sources: Mapping[int, Sequence[int]]
) -> Float[Array, "rows ..."]:
    """Returns the old rows, bit for bit, but for those of `sources`, and the drawn ones after them.

    Args:
      old: at most as many rows as `drawn` has.
      drawn: fresh rows.
      sources: row -> old rows whose mean it becomes; none: the drawn row.
    """
    rows = jnp.concatenate([old, drawn[len(old) :]])
    fresh = np.array([row for row, own in sources.items() if not len(own)], np.int32)
    mixed = np.array([row for row, own in sources.items() if len(own)], np.int32)
    if len(fresh):
        rows = rows.at[fresh].set(drawn[fresh])
    if len(mixed):
        rows = rows.at[mixed].set(_means(old, [sources[row] for row in mixed.tolist()]))
    return rows


def _means(old: Float[Array, "old_rows ..."], sources: Sequence[Sequence[int]]) -> Float[Array, "means ..."]:
    """Returns the mean of each of several sets of rows, one row of each set at a time."""
    counts = np.array([len(own) for own in sources])
    padded = np.zeros((len(sources), counts.max()), np.int32)
    for index, own in enumerate(sources):
        padded[index, : len(own)] = own
    shape = (-1, *[1] * (old.ndim - 1))
    total = old[padded[:, 0]]
    for place in range(1, padded.shape[1]):
        total = jnp.where((place < counts).reshape(shape), total + old[padded[:, place]], total)
    return total / counts.reshape(shape).astype(np.float32)
