"""Examples of prediction one by one, in rows and back out of them. Pure numpy."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from m5jax.data.packing import pack_window


class Example(NamedTuple):
    """One example of a task: int32 [n] tokens to read, the id to predict at each (0: none), and whether each is
    bidirectional, as in the rows of `LanguageModelFeatureConverter`."""

    inputs: np.ndarray
    targets: np.ndarray
    bidirectional: np.ndarray


def example_rows(examples: Sequence[Example], length: int, budget: int) -> dict[str, np.ndarray]:
    """Returns a row for each example, in order, with features as in `pack_window`.

    Args:
        examples: none longer than `length`, none with more predictions than `budget`.
        length: tokens of a row.
        budget: predictions of a row.
    """
    flat = [np.concatenate(arrays) for arrays in zip(*examples, strict=True)]
    splits = np.cumsum([0, *(len(example.inputs) for example in examples)])
    return pack_window(
        flat[0], flat[1], splits, length=length, budget=budget, pack=False, by_token={"bidirectional": flat[2]}
    )


def unpack_rows(rows: Mapping[str, np.ndarray]) -> Iterator[Example]:
    """Yields the examples of packed rows, row by row and segment by segment.

    Args:
        rows: features as in `pack_window`; tokens are bidirectional where there is no feature of that name.
    """
    count, length = rows["inputs"].shape
    targets = np.zeros((count, length), np.int32)
    row, slot = np.nonzero(rows["loss_weights"])
    targets[row, rows["predicted_positions"][row, slot]] = rows["targets"][row, slot]
    bidirectional = rows.get("bidirectional", np.ones((count, length), np.int32))
    for index, segments in enumerate(rows["segment_ids"]):
        for segment in range(1, int(segments.max(initial=0)) + 1):
            own = segments == segment
            yield Example(rows["inputs"][index, own], targets[index, own], bidirectional[index, own])
