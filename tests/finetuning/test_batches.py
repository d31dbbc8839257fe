"""Shuffled batches: each example once an epoch, and the same again from any position, on any number of processes."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.finetuning.batches import ShuffledBatches, epoch_order
from m5jax.finetuning.rows import Batch, Padded, PairRows, SequenceRows, bucket


def sequence_rows(count: int, seed: int = 0, longest: int = 60) -> SequenceRows:
    """Returns rows whose labels are their numbers."""
    random = np.random.default_rng(seed)
    texts = [random.integers(1, 99, length).tolist() for length in random.integers(1, longest, count)]
    return SequenceRows(Padded.of(texts), np.arange(count, dtype=np.int32))


def pair_rows(negatives: int = 0) -> PairRows:
    left, right = (sequence_rows(5, seed).sequences for seed in (1, 2))
    pairs = np.array([[left, right] for left in range(5) for right in range(3)])
    numbers, groups = np.arange(15, dtype=np.float32), np.arange(5, dtype=np.int32)
    mined = np.random.default_rng(0).integers(0, 5, (15, negatives))
    return PairRows(left, right, pairs, numbers / 15, numbers % 2, groups, groups + 5, mined)


def batches_of(rows: SequenceRows | PairRows, batch_size: int = 4, seed: int = 0, **shares: int) -> ShuffledBatches:
    count = len(rows.lengths)
    return ShuffledBatches(rows, np.linspace(0.5, 2, count).astype(np.float32), batch_size, seed, **shares)


def assert_alike(first: Batch, second: Batch) -> None:
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@settings(max_examples=40)
@given(st.integers(1, 70), st.integers(1, 9), st.integers(0, 99))
def test_each_example_comes_once_an_epoch_with_its_weight(count: int, batch_size: int, seed: int) -> None:
    rows = sequence_rows(count)
    batches = batches_of(rows, batch_size, seed)
    weights = np.linspace(0.5, 2, count).astype(np.float32)
    seen: list[int] = []
    while len(seen) < 3 * count:
        batch = next(batches)
        assert {len(array) for array in batch.values()} == {batch_size}
        for text, number, weight in zip(batch["inputs"], batch["labels"], batch["weights"], strict=True):
            assert weight == weights[number]
            start, end = rows.sequences.starts[number : number + 2]
            np.testing.assert_array_equal(text[text > 0], rows.sequences.tokens[start:end])
        seen += batch["labels"].tolist()
    epochs = [seen[start : start + count] for start in range(0, 3 * count, count)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)


def test_the_order_follows_from_the_seed() -> None:
    first, same, other = (batches_of(sequence_rows(30), seed=seed) for seed in (1, 1, 2))
    orders = [[number for _ in range(7) for number in next(batches)["labels"]] for batches in (first, same, other)]
    assert orders[0] == orders[1] != orders[2]


def test_few_examples_are_in_other_batches_each_epoch() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 40)
    epochs = [epoch_order(lengths, 8, 0, epoch).reshape(-1, 8) for epoch in range(2)]
    batches = [{frozenset(batch.tolist()) for batch in epoch} for epoch in epochs]
    assert not batches[0] & batches[1]


def test_examples_of_a_batch_are_padded_to_like_lengths() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, 2000)
    order = epoch_order(lengths, 10, 0, 0)
    assert sorted(order) == list(range(2000))
    padded = np.array([bucket(int(batch.max())) for batch in lengths[order].reshape(-1, 10)])
    alone = np.array([bucket(int(length)) for length in lengths])
    assert 10 * padded.sum() < 1.1 * alone.sum()
    assert 10 * padded.sum() < 0.9 * 512 * 2000  # as if batches were random
    # Yet batches of short ones and of long ones come in turn.
    assert abs(np.corrcoef(np.arange(200), padded)[0, 1]) < 0.2


@pytest.mark.parametrize("before", [0, 1, 5, 12])
@pytest.mark.parametrize("negatives", [0, 2])
def test_from_a_saved_position_the_same_batches_come(before: int, negatives: int, tmp_path: Path) -> None:
    batches = batches_of(pair_rows(negatives))
    for _ in range(before):
        next(batches)
    batches.save(tmp_path)
    expected = [next(batches) for _ in range(9)]
    again = batches_of(pair_rows())
    again.restore(tmp_path)
    assert again.next_example == 4 * before
    for batch in expected:
        assert_alike(next(again), batch)
    batches.restore(tmp_path)
    assert_alike(next(batches), expected[0])


def test_mined_negatives_come_back_as_they_were_at_the_position(tmp_path: Path) -> None:
    batches = batches_of(pair_rows())
    batches.save(tmp_path / "before")
    mined = np.random.default_rng(1).integers(0, 5, (15, 2))
    batches.replace_negatives(mined)
    assert next(batches)["right_inputs"].shape[1] == 3
    batches.save(tmp_path / "after")
    for name, shape in (("before", (15, 0)), ("after", (15, 2)), ("before", (15, 0))):
        batches.restore(tmp_path / name)
        assert isinstance(batches.rows, PairRows)
        assert batches.rows.negatives.shape == shape
    fresh = batches_of(pair_rows())
    fresh.restore(tmp_path / "after")
    assert isinstance(fresh.rows, PairRows)
    np.testing.assert_array_equal(fresh.rows.negatives, mined)


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_the_shares_of_processes_make_up_the_batch(count: int) -> None:
    rows = sequence_rows(20, longest=200)
    whole = batches_of(rows, 6)
    parts = [batches_of(rows, 6, share_index=index, share_count=count) for index in range(count)]
    for _ in range(8):
        batch = next(whole)
        shares = [next(part) for part in parts]
        joined = {name: np.concatenate([share[name] for share in shares]) for name in batch}
        assert_alike(joined, batch)


def test_another_number_of_processes_goes_on_from_the_position(tmp_path: Path) -> None:
    rows = sequence_rows(20)
    assert ShuffledBatches.of_all_processes
    first = batches_of(rows, 6, share_index=1, share_count=2)
    for _ in range(5):
        next(first)
    first.save(tmp_path)
    alone = batches_of(rows, 6)
    alone.restore(tmp_path)
    assert_alike({name: array[3:] for name, array in next(alone).items()}, next(first))


def others() -> dict[str, ShuffledBatches]:
    rows = sequence_rows(20)
    tokens = rows.sequences.tokens.copy()
    tokens[-1] += 1
    labels = rows.labels.copy()
    labels[3] = 9
    return {
        "fewer": batches_of(sequence_rows(19)),
        "other lengths": batches_of(sequence_rows(20, seed=1)),
        "another text of the same length": batches_of(
            dataclasses.replace(rows, sequences=Padded(tokens, rows.sequences.starts))
        ),
        "another label": batches_of(dataclasses.replace(rows, labels=labels)),
        "other weights": ShuffledBatches(rows, np.ones(20, np.float32), 4, 0),
        "another batch size": batches_of(rows, 5),
        "another seed": batches_of(rows, seed=1),
    }


@pytest.mark.parametrize("name", others())
def test_a_position_of_other_examples_is_refused(name: str, tmp_path: Path) -> None:
    batches_of(sequence_rows(20)).save(tmp_path)
    other = others()[name]
    with pytest.raises(UserError, match="is of other examples, batches or seed"):
        other.restore(tmp_path)
    assert other.next_example == 0


def test_the_fingerprint_is_of_the_examples_and_not_of_mined_negatives() -> None:
    batches = batches_of(pair_rows())
    before = batches.fingerprint
    batches.replace_negatives(np.zeros((15, 1), np.int64))
    assert batches.fingerprint == before == batches_of(pair_rows(2)).fingerprint
    assert batches_of(pair_rows(), share_index=1, share_count=2).fingerprint == before
    changed = dataclasses.replace(pair_rows(), fits=1 - pair_rows().fits)
    assert batches_of(changed).fingerprint != before


@pytest.mark.parametrize("content", [None, "", "[]", '{"next_example": 3}', '{"next_example": "x", "examples": ""}'])
def test_a_position_that_cannot_be_read_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "position.json").write_text(content)
    with pytest.raises(UserError, match="no data position of examples can be read in"):
        batches_of(sequence_rows(5)).restore(tmp_path)


def test_damaged_negatives_are_refused(tmp_path: Path) -> None:
    batches = batches_of(pair_rows(2))
    batches.save(tmp_path)
    (tmp_path / "negatives.npy").write_bytes(b"no array")
    with pytest.raises(UserError, match="no data position of examples can be read in"):
        batches.restore(tmp_path)


def test_a_position_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot save the data position"):
        batches_of(sequence_rows(5)).save(tmp_path / "file")


def test_a_position_is_a_number_of_examples(tmp_path: Path) -> None:
    batches = batches_of(sequence_rows(5))
    next(batches)
    batches.save(tmp_path)
    assert json.loads((tmp_path / "position.json").read_text())["next_example"] == 4


@pytest.mark.parametrize(("batch_size", "shares"), [(0, 1), (4, 3)])
def test_batches_that_do_not_split_are_refused(batch_size: int, shares: int) -> None:
    with pytest.raises(UserError, match=f"a batch of {batch_size} rows does not split into {shares} equal parts"):
        batches_of(sequence_rows(5), batch_size, share_count=shares)
