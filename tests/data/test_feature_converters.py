"""The feature converter gives SeqIO what `pack_window` gives, window by window."""

import numpy as np
import pytest
import tensorflow as tf

from m5jax.data.feature_converters import MaskedLanguageModelFeatureConverter
from m5jax.data.packing import masked_budget, pack_window

LENGTH = 24
RATE = 0.25
LENGTHS = {"inputs": LENGTH, "targets": LENGTH}


def _examples(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(400, 600, size, np.int32) for size in generator.integers(1, LENGTH + 1, count)]


def _dataset(examples: list[np.ndarray]) -> tf.data.Dataset:
    def generate():  # type: ignore[no-untyped-def]
        for example in examples:
            yield {"inputs": example, "targets": np.where(example % 4 == 0, example, 0).astype(np.int32)}

    specification = tf.TensorSpec([None], tf.int32)
    return tf.data.Dataset.from_generator(
        generate, output_signature={"inputs": specification, "targets": specification}
    )


@pytest.mark.parametrize("pack", [True, False])
def test_rows_are_those_of_each_window_in_turn(pack: bool) -> None:
    examples, window = _examples(50), 20
    converter = MaskedLanguageModelFeatureConverter(RATE, pack=pack, window=window)
    converted = list(converter(_dataset(examples), LENGTHS).as_numpy_iterator())
    expected = []
    for start in range(0, len(examples), window):
        inputs = np.concatenate(examples[start : start + window])
        splits = np.cumsum([0, *map(len, examples[start : start + window])])
        targets = np.where(inputs % 4 == 0, inputs, 0).astype(np.int32)
        budget = masked_budget(LENGTH, RATE)
        rows = pack_window(inputs, targets, splits, length=LENGTH, budget=budget, pack=pack)
        expected += [{name: rows[name][row] for name in rows} for row in range(len(rows["inputs"]))]
    assert len(converted) == len(expected)
    for row, expected_row in zip(converted, expected, strict=True):
        assert row.keys() == expected_row.keys()
        for name in row:
            assert row[name].dtype == expected_row[name].dtype
            assert np.array_equal(row[name], expected_row[name]), name


def test_shapes_are_known_before_the_data_is() -> None:
    dataset = MaskedLanguageModelFeatureConverter(RATE)(_dataset(_examples(1)), LENGTHS)
    budget = masked_budget(LENGTH, RATE)
    shapes = {name: tuple(spec.shape) for name, spec in dataset.element_spec.items()}
    by_row = dict.fromkeys(("inputs", "segment_ids", "positions"), (LENGTH,))
    assert shapes == {**by_row, **dict.fromkeys(("masked_positions", "targets", "loss_weights"), (budget,))}


def test_an_example_that_is_too_long_stops_the_pipeline() -> None:
    converter = MaskedLanguageModelFeatureConverter(RATE)
    dataset = converter(_dataset([np.ones(LENGTH + 1, np.int32)]), LENGTHS)
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than the row length"):
        list(dataset)
