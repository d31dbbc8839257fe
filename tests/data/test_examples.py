"""Examples into rows and back out of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.examples import Example, example_rows, unpack_rows
from m5jax.data.packing import pack_window

LENGTH, BUDGET = 12, 4


@st.composite
def examples(draw: st.DrawFn) -> list[Example]:
    found = []
    for length in draw(st.lists(st.integers(1, LENGTH), min_size=1, max_size=12)):
        inputs = np.array(draw(st.lists(st.integers(1, 9), min_size=length, max_size=length)), np.int32)
        targets = np.zeros(length, np.int32)
        for place in draw(st.sets(st.integers(0, length - 1), max_size=BUDGET)):
            targets[place] = draw(st.integers(1, 9))
        found.append(Example(inputs, targets, np.array(draw(st.sampled_from([0, 1])), np.int32).repeat(length)))
    return found


def pack(given: list[Example]) -> dict[str, np.ndarray]:
    flat = [np.concatenate(arrays) for arrays in zip(*given, strict=True)]
    splits = np.cumsum([0, *(len(example.inputs) for example in given)])
    return pack_window(
        flat[0],
        flat[1],
        splits,
        length=LENGTH,
        budget=BUDGET,
        by_token={"bidirectional": flat[2]},
        reserve_predictions=True,
    )


def as_set(given: list[Example]) -> list[tuple[bytes, ...]]:
    return sorted(tuple(array.astype(np.int32).tobytes() for array in example) for example in given)


@given(examples())
def test_what_is_unpacked_was_packed(given: list[Example]) -> None:
    assert as_set(list(unpack_rows(pack(given)))) == as_set(given)


@given(examples())
def test_a_row_each_keeps_the_order(given: list[Example]) -> None:
    rows = example_rows(given, LENGTH + 3, BUDGET)
    assert rows["inputs"].shape == (len(given), LENGTH + 3)
    for expected, found in zip(given, unpack_rows(rows), strict=True):
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_array_equal(one, other)


def test_tokens_are_bidirectional_where_nothing_is_said_and_padding_is_no_example() -> None:
    rows = example_rows([Example(*np.ones((3, 2), np.int32))], LENGTH, BUDGET)
    del rows["bidirectional"]
    padded = {name: np.pad(array, [(0, 2), (0, 0)]) for name, array in rows.items()}
    (found,) = unpack_rows(padded)
    assert found.bidirectional.tolist() == [1, 1]
