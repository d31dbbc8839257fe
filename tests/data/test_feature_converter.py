"""The feature converter gives what `pack_window` gives, window by window, with targets written after inputs."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.feature_converter import (
    LanguageModelFeatureConverter,
    SequenceToSequenceFeatureConverter,
    one_sequence,
)
from m5jax.data.packing import pack_pairs, pack_window

LENGTH, BUDGET = 24, 9
LENGTHS = {"inputs": LENGTH, "targets": LENGTH, "task": 1}


def _examples(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(400, 600, size, np.int32) for size in generator.integers(1, LENGTH + 1, count)]


def _dataset(inputs: list[np.ndarray], targets: list[np.ndarray], tasks: list[int]) -> tf.data.Dataset:
    def generate():  # type: ignore[no-untyped-def]
        for example, own_targets, task in zip(inputs, targets, tasks, strict=True):
            yield {"inputs": example, "targets": own_targets, "task": task}

    specification = tf.TensorSpec([None], tf.int32)
    return tf.data.Dataset.from_generator(
        generate,
        output_signature={"inputs": specification, "targets": specification, "task": tf.TensorSpec([], tf.int32)},
    )


def _masked(examples: list[np.ndarray]) -> tf.data.Dataset:
    targets = [np.where(example % 4 == 0, example, 0).astype(np.int32) for example in examples]
    return _dataset(examples, targets, [index % 2 for index in range(len(examples))])


@pytest.mark.parametrize("pack", [True, False])
def test_rows_are_those_of_each_window_in_turn(pack: bool) -> None:
    examples, window = _examples(50), 20
    converter = LanguageModelFeatureConverter({"a": True, "b": True}, BUDGET, pack=pack, window=window)
    converted = list(converter(_masked(examples), LENGTHS).as_numpy_iterator())
    expected = []
    for start in range(0, len(examples), window):
        chosen = examples[start : start + window]
        inputs = np.concatenate(chosen)
        targets = np.where(inputs % 4 == 0, inputs, 0).astype(np.int32)
        tasks = np.concatenate([np.full(len(example), index % 2) for index, example in enumerate(chosen)])
        rows = pack_window(
            inputs,
            targets,
            np.cumsum([0, *map(len, chosen)]),
            length=LENGTH,
            budget=BUDGET,
            pack=pack,
            by_token={"tasks": tasks},
        )
        for row in range(len(rows["inputs"])):
            features = {name: rows[name][row] for name in rows}
            by_token = features.pop("tasks")
            used = features["loss_weights"] > 0
            features["task_ids"] = np.where(used, by_token[features["predicted_positions"]], 0).astype(np.int32)
            expected.append(features)
    assert len(converted) == len(expected)
    for row, expected_row in zip(converted, expected, strict=True):
        assert row.keys() == expected_row.keys()
        for name in row:
            assert row[name].dtype == expected_row[name].dtype
            assert np.array_equal(row[name], expected_row[name]), name


@pytest.mark.parametrize("aligned", [True, False])
def test_shapes_are_known_before_the_data_is(aligned: bool) -> None:
    dataset = LanguageModelFeatureConverter({"a": aligned, "b": True}, BUDGET)(_masked(_examples(1)), LENGTHS)
    shapes = {name: tuple(spec.shape) for name, spec in dataset.element_spec.items()}
    by_row = (
        ("inputs", "segment_ids", "positions") if aligned else ("inputs", "segment_ids", "positions", "bidirectional")
    )
    assert shapes == {
        **dict.fromkeys(by_row, (LENGTH if aligned else 2 * LENGTH,)),
        **dict.fromkeys(("predicted_positions", "targets", "task_ids", "loss_weights"), (BUDGET,)),
    }


def test_an_example_that_is_too_long_stops_the_pipeline() -> None:
    dataset = LanguageModelFeatureConverter({"a": True, "b": True}, BUDGET)(
        _masked([np.ones(LENGTH + 1, np.int32)]), LENGTHS
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than the row length"):
        list(dataset)


IDS = st.lists(st.integers(1, 99), min_size=1, max_size=7)


@given(st.lists(st.tuples(IDS, IDS, st.booleans()), min_size=1, max_size=6))
def test_one_sequence_reads_inputs_and_then_the_targets_so_far(
    examples: list[tuple[list[int], list[int], bool]],
) -> None:
    examples = [(inputs, inputs[::-1] if aligned else targets, aligned) for inputs, targets, aligned in examples]
    tokens, predicted, bidirectional, splits = one_sequence(
        np.concatenate([inputs for inputs, _, _ in examples]).astype(np.int32),
        np.cumsum([0, *(len(inputs) for inputs, _, _ in examples)]),
        np.concatenate([targets for _, targets, _ in examples]).astype(np.int32),
        np.cumsum([0, *(len(targets) for _, targets, _ in examples)]),
        np.array([aligned for _, _, aligned in examples]),
    )
    assert splits[-1] == len(tokens) == len(predicted) == len(bidirectional)
    for (inputs, targets, aligned), start, stop in zip(examples, splits, splits[1:], strict=False):
        own = list(zip(tokens[start:stop], predicted[start:stop], bidirectional[start:stop], strict=True))
        if aligned:
            assert own == [(token, target, 1) for token, target in zip(inputs, targets, strict=True)]
            continue
        # Naively, one prediction after the other.
        read = inputs.copy()
        for target in targets:
            assert [token for token, _, _ in own[: len(read)]] == read
            assert own[len(read) - 1][1] == target
            read.append(target)
        assert [free for _, _, free in own] == [1] * len(inputs) + [0] * (len(targets) - 1)
        assert [target for _, target, _ in own[: len(inputs) - 1]] == [0] * (len(inputs) - 1)


def test_no_prediction_is_lost_where_targets_are_written() -> None:
    generator = np.random.default_rng(1)
    inputs = [generator.integers(400, 600, size, np.int32) for size in generator.integers(1, 16, 300)]
    targets = [generator.integers(400, 600, size, np.int32) for size in generator.integers(1, 9, 300)]
    tasks = generator.integers(0, 2, 300).tolist()
    targets = [
        np.where(np.arange(len(i)) % 7 == 3, i, 0).astype(np.int32) if task else t
        for i, t, task in zip(inputs, targets, tasks, strict=True)
    ]
    converter = LanguageModelFeatureConverter({"a": False, "b": True}, budget=8, window=100)
    rows = list(
        converter(_dataset(inputs, targets, tasks), {"inputs": 16, "targets": 8, "task": 1}).as_numpy_iterator()
    )
    for task in (0, 1):
        written = np.concatenate([r["targets"][(r["loss_weights"] > 0) & (r["task_ids"] == task)] for r in rows])
        given_targets = np.concatenate([t[t > 0] for t, own in zip(targets, tasks, strict=True) if own == task])
        assert np.array_equal(np.sort(written), np.sort(given_targets))
    # Bidirectional tokens are exactly the inputs.
    assert sum(int(row["bidirectional"].sum()) for row in rows) == sum(map(len, inputs))


@pytest.mark.parametrize("pack", [True, False])
def test_rows_of_pairs_are_those_of_each_window_in_turn(pack: bool) -> None:
    examples, window, targets_length = _examples(50), 20, 12
    written = [example[:targets_length] + 7 for example in examples]
    dataset = _dataset(examples, written, [index % 2 for index in range(50)])
    converter = SequenceToSequenceFeatureConverter(["a", "b"], pack=pack, window=window)
    lengths = {"inputs": LENGTH, "targets": targets_length, "task": 1}
    found = list(converter(dataset, lengths).as_numpy_iterator())
    expected = []
    for start in range(0, 50, window):
        sides = [side[start : start + window] for side in (examples, written)]
        splits = [np.cumsum([0, *map(len, side)]) for side in sides]
        tasks = np.concatenate([np.full(len(side), index % 2, np.int32) for index, side in enumerate(sides[1])])
        rows = pack_pairs(
            np.concatenate(sides[0]),
            splits[0],
            np.concatenate(sides[1]),
            splits[1],
            {"task_ids": tasks},
            length=LENGTH,
            targets_length=targets_length,
            pack=pack,
        )
        expected += [{name: rows[name][row] for name in rows} for row in range(len(rows["inputs"]))]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [(LENGTH + 1, 3, f"inputs of {LENGTH + 1} tokens; allowed: 1 to {LENGTH}"), (3, 6, "targets of 6"), (3, 0, "of 0")],
)
def test_a_pair_that_fits_no_row_names_its_task(inputs: int, targets: int, message: str) -> None:
    dataset = _dataset([np.ones(inputs, np.int32)], [np.ones(targets, np.int32)], [1])
    converter = SequenceToSequenceFeatureConverter(["a", "b"])
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"an example of task b has .*{message}"):
        list(converter(dataset, {"inputs": LENGTH, "targets": 5, "task": 1}))
