"""Packing, against the definition: every token once, whole examples, and the budget of predictions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.packing import pack_pairs, pack_window, prediction_budget

LENGTH = 16
MASK = 3

# An example is a list of predicted / not predicted; windows of them, with a budget.
windows = st.lists(st.lists(st.booleans(), min_size=1, max_size=LENGTH), min_size=1, max_size=30)


def _window(examples: list[list[bool]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Original tokens are 1000, 1001, ... over the window, so that each can be found again."""
    predicted = np.concatenate(examples)
    originals = np.arange(1000, 1000 + len(predicted), dtype=np.int32)
    inputs = np.where(predicted, MASK, originals).astype(np.int32)
    targets = np.where(predicted, originals, 0).astype(np.int32)
    return inputs, targets, np.cumsum([0, *map(len, examples)])


def _originals(rows: dict[str, np.ndarray]) -> np.ndarray:
    originals = rows["inputs"].copy()
    for row, (positions, targets, weights) in enumerate(
        zip(rows["predicted_positions"], rows["targets"], rows["loss_weights"], strict=True)
    ):
        used = weights > 0
        originals[row, positions[used]] = targets[used]
    return originals


@given(windows, st.integers(1, LENGTH), st.booleans())
def test_every_example_is_whole_in_one_segment_and_once(examples: list[list[bool]], budget: int, pack: bool) -> None:
    rows = pack_window(*_window(examples), length=LENGTH, budget=budget, pack=pack)
    originals = _originals(rows)
    found = []
    for row in range(len(originals)):
        segments = rows["segment_ids"][row]
        # Contiguous, ascending from 1, padding at the end only.
        real = segments[segments > 0]
        assert np.array_equal(segments, np.concatenate([real, np.zeros(LENGTH - len(real), np.int32)]))
        assert np.array_equal(np.unique(real), np.arange(1, real.max() + 1))
        assert (np.diff(real) >= 0).all()
        for segment in range(1, int(real.max()) + 1):
            inside = segments == segment
            assert np.array_equal(rows["positions"][row][inside], np.arange(inside.sum()))
            found.append(originals[row][inside].tolist())
        assert not originals[row][segments == 0].any()
        assert not rows["positions"][row][segments == 0].any()
    splits = np.cumsum([0, *map(len, examples)])
    expected = [list(range(1000 + start, 1000 + stop)) for start, stop in zip(splits[:-1], splits[1:], strict=True)]
    assert sorted(found) == expected


@given(windows, st.integers(1, LENGTH))
def test_the_budget_is_kept_and_nothing_is_masked_without_a_prediction(examples: list[list[bool]], budget: int) -> None:
    inputs, targets, row_splits = _window(examples)
    rows = pack_window(inputs, targets, row_splits, length=LENGTH, budget=budget)
    assert rows["targets"].shape == rows["predicted_positions"].shape == rows["loss_weights"].shape
    assert rows["targets"].shape[1] == budget
    originals = _originals(rows)
    for row in range(len(originals)):
        used = rows["loss_weights"][row] > 0
        positions = rows["predicted_positions"][row][used]
        predicted_here = sum(bool(targets[token - 1000]) for token in originals[row] if token)
        assert used.sum() == min(predicted_here, budget)
        assert len(np.unique(positions)) == len(positions)
        assert set(np.flatnonzero(rows["inputs"][row] == MASK)) == set(positions)
        assert not rows["targets"][row][~used].any()
        assert not rows["predicted_positions"][row][~used].any()


@given(windows)
def test_packing_is_never_worse_than_first_fit_decreasing(examples: list[list[bool]]) -> None:
    rows = pack_window(*_window(examples), length=LENGTH, budget=LENGTH)
    free: list[int] = []
    for size in sorted(map(len, examples), reverse=True):
        row = next((index for index, left in enumerate(free) if left >= size), None)
        if row is None:
            free.append(LENGTH)
            row = len(free) - 1
        free[row] -= size
    # Both are within 11/9 of the best; on small windows best fit may differ from first fit by a row either way.
    assert len(rows["inputs"]) <= len(free) + 1


@given(windows)
def test_packing_follows_from_the_window_alone(examples: list[list[bool]]) -> None:
    first = pack_window(*_window(examples), length=LENGTH, budget=4)
    second = pack_window(*_window(examples), length=LENGTH, budget=4)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_rows_do_not_come_sorted_by_the_length_of_their_examples() -> None:
    generator = np.random.default_rng(0)
    examples = [[False] * int(size) for size in generator.integers(1, LENGTH + 1, 2000)]
    rows = pack_window(*_window(examples), length=LENGTH, budget=4)
    segments = rows["segment_ids"].max(axis=1)
    assert abs(np.corrcoef(np.arange(len(segments)), segments)[0, 1]) < 0.1


def test_without_packing_examples_keep_their_order() -> None:
    rows = pack_window(*_window([[False] * 3, [True] * 2, [False]]), length=LENGTH, budget=2, pack=False)
    assert rows["segment_ids"].sum(axis=1).tolist() == [3, 2, 1]
    assert rows["targets"].tolist() == [[0, 0], [1003, 1004], [0, 0]]
    assert rows["predicted_positions"].tolist() == [[0, 0], [0, 1], [0, 0]]


def test_an_example_longer_than_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="17 tokens, more than the row length 16"):
        pack_window(*_window([[False] * 17]), length=LENGTH, budget=2)


@pytest.mark.parametrize(("length", "rate", "budget"), [(128, 0.15, 24), (512, 0.15, 87), (8, 0.9, 8)])
def test_the_budget_has_room_for_a_tenth_more_and_two(length: int, rate: float, budget: int) -> None:
    assert prediction_budget(length, rate) == budget


TARGETS_LENGTH = 7


@given(
    st.lists(st.tuples(st.integers(1, LENGTH), st.integers(1, TARGETS_LENGTH)), min_size=1, max_size=30), st.booleans()
)
def test_inputs_and_targets_of_a_pair_have_the_same_segment_of_the_same_row(
    sizes: list[tuple[int, int]], pack: bool
) -> None:
    splits = [np.cumsum([0, *side]) for side in zip(*sizes, strict=True)]
    inputs, targets = (np.arange(1000, 1000 + side[-1], dtype=np.int32) for side in splits)
    rows = pack_pairs(
        inputs,
        splits[0],
        targets,
        splits[1],
        {"task_ids": targets % 7},
        length=LENGTH,
        targets_length=TARGETS_LENGTH,
        pack=pack,
    )
    found = []
    for row in range(len(rows["inputs"])):
        sides = []
        for values, prefix in (("inputs", ""), ("targets", "target_")):
            segments = rows[f"{prefix}segment_ids"][row]
            real = segments[segments > 0]
            assert np.array_equal(segments, np.concatenate([real, np.zeros(len(segments) - len(real), np.int32)]))
            assert (np.diff(real) >= 0).all()
            own = [segments == segment for segment in range(1, int(real.max()) + 1)]
            for inside in own:
                assert np.array_equal(rows[f"{prefix}positions"][row][inside], np.arange(inside.sum()))
            assert not rows[values][row][segments == 0].any()
            sides.append([rows[values][row][inside].tolist() for inside in own])
        found += list(zip(*sides, strict=True))
    pairs = zip(
        *(np.split(values, side[1:-1]) for values, side in zip((inputs, targets), splits, strict=True)), strict=True
    )
    assert sorted(found) == sorted((own.tolist(), written.tolist()) for own, written in pairs)
    assert np.array_equal(rows["loss_weights"], rows["target_segment_ids"] > 0)
    assert np.array_equal(rows["task_ids"], np.where(rows["targets"] > 0, rows["targets"] % 7, 0))
    assert pack or len(rows["inputs"]) == len(sizes)


def test_pairs_share_rows_by_their_larger_part() -> None:
    splits, target_splits = np.array([0, 4, 8, 12, 16]), np.array([0, 1, 2, 3, 7])
    rows = pack_pairs(
        np.arange(5, 21, dtype=np.int32), splits, np.arange(5, 12, dtype=np.int32), target_splits,
        length=16, targets_length=4,
    )  # fmt: skip
    # Three take a quarter of each row, the fourth all of the targets'.
    assert sorted(rows["segment_ids"].max(axis=1).tolist()) == [1, 3]


@pytest.mark.parametrize(("lengths", "message"), [((3, 9), "inputs of 4"), ((9, 2), "targets of 3")])
def test_a_pair_that_fits_no_row_is_refused(lengths: tuple[int, int], message: str) -> None:
    inputs, targets = np.arange(4, dtype=np.int32), np.arange(3, dtype=np.int32)
    with pytest.raises(ValueError, match=f"an example has {message} tokens"):
        pack_pairs(inputs, np.array([0, 4]), targets, np.array([0, 3]), length=lengths[0], targets_length=lengths[1])
