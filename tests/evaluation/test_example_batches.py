"""Batches of like length: each example once, in shapes of which there are few."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.examples import Example, unpack_rows
from m5jax.evaluation.example_batches import FEWEST_PREDICTIONS, SHORTEST_ROW, batches_by_length


def example(length: int, predictions: int) -> Example:
    targets = (np.arange(length) < predictions).astype(np.int32)
    return Example(np.arange(1, length + 1, dtype=np.int32), targets, np.ones(length, np.int32))


@given(sizes=st.lists(st.tuples(st.integers(1, 70), st.integers(0, 9)), max_size=20), rows=st.integers(1, 6))
def test_each_example_with_a_prediction_has_a_row_of_its_own(sizes: list[tuple[int, int]], rows: int) -> None:
    examples = [example(length, min(predictions, length)) for length, predictions in sizes]
    seen: list[int] = []
    longest = 0
    for places, batch in batches_by_length(examples, rows):
        length, budget = batch["inputs"].shape[1], batch["targets"].shape[1]
        assert {len(array) for array in batch.values()} == {rows}
        assert (length & length - 1, budget & budget - 1) == (0, 0)
        assert length >= max(SHORTEST_ROW, longest)
        assert FEWEST_PREDICTIONS <= budget <= length
        longest = length
        for place, found in zip(places, unpack_rows(batch), strict=True):
            for one, other in zip(examples[place], found, strict=True):
                np.testing.assert_array_equal(one, other)
        seen += places.tolist()
    assert sorted(seen) == [place for place, own in enumerate(examples) if own.targets.any()]
