"""The examples of each record of a task on its own: which record an example comes from, where a pipeline forgets it."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import seqio
import tensorflow as tf

from m5jax.data.corpus_source import CorpusDataSource
from m5jax.data.curation import WeightedSource
from m5jax.data.examples import Example
from m5jax.data.feature_converter import one_sequence
from m5jax.data.iterate import DatasetIterator
from m5jax.data.mixtures import find_tasks
from m5jax.data.row_shape import RowShape, targets_are_aligned
from m5jax.data.scores import record_keys
from m5jax.errors import UserError

_SEED = 0
_RECORDS_IN_PARALLEL = 8
_EXAMPLES_A_RECORD = 1 << 30  # all


class RecordExamples(NamedTuple):
    """What a task makes of one record.

    Attributes:
        key: of the record, see `record_keys`.
        examples: none where the task leaves the record out, several where it cuts a long text.
    """

    key: int
    examples: list[Example]


def record_task(name: str) -> seqio.Task:
    """Returns a task whose records have keys; raises UserError for a mixture, a curated task, and other sources."""
    task, *others = find_tasks(name)
    if others:
        raise UserError(f"{name} is a mixture; score its tasks: {', '.join(t.name for t in (task, *others))}")
    if isinstance(task.source, WeightedSource):
        raise UserError(f"task {name} is curated; score the task that it was made of")
    if not isinstance(task.source, CorpusDataSource):
        raise UserError(f"task {name} reads no corpus, so its records cannot be scored")
    return task


def record_examples(name: str, *, length: int, targets_length: int, split: str) -> Iterator[RecordExamples]:
    """Yields each record of a task once, in a fixed order.

    Each record goes through the task's steps alone, from the same seed: its masks depend on nothing but itself.

    Args:
        name: a registered task over a corpus.
        length, targets_length: as in `training_batches`.
        split: the split to read.

    Raises:
        UserError: as `record_task`, for impossible lengths, and for a record that cannot be read.
    """
    task = record_task(name)
    aligned = targets_are_aligned(task)
    lengths = RowShape([task], length, targets_length).feature_lengths
    lines = task.source.get_dataset(split, shuffle=False)

    @tf.autograph.experimental.do_not_convert
    def of_record(line: tf.Tensor) -> tf.data.Dataset:
        # A record begins with an element that holds its line and no example.
        first = tf.data.Dataset.from_tensors({"line": line, **_empty()})
        examples = _steps(task, tf.data.Dataset.from_tensors(line), lengths)
        return first.concatenate(examples.map(lambda example: {"line": "", **_tokens(example)}))

    # Whole records one after the other, the next ones made ahead.
    stream = lines.interleave(
        of_record,
        cycle_length=_RECORDS_IN_PARALLEL,
        block_length=_EXAMPLES_A_RECORD,
        num_parallel_calls=_RECORDS_IN_PARALLEL,
        deterministic=True,
    )
    return _grouped(DatasetIterator(stream), aligned)


def _steps(task: seqio.Task, dataset: tf.data.Dataset, lengths: Mapping[str, int]) -> tf.data.Dataset:
    with seqio.utils.map_seed_manager(_SEED):
        for step in task.preprocessors:
            if not isinstance(step, seqio.CacheDatasetPlaceholder):
                step = seqio.utils.add_kwargs_to_transform(
                    step, sequence_length=lengths, output_features=task.output_features
                )
                dataset = step(dataset)
    return dataset


def _empty() -> dict[str, tf.Tensor]:
    return {"inputs": tf.zeros([0], tf.int32), "targets": tf.zeros([0], tf.int32)}


def _tokens(example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {name: tf.ensure_shape(example[name], [None]) for name in ("inputs", "targets")}


def _grouped(stream: Iterator[dict[str, tf.Tensor]], aligned: bool) -> Iterator[RecordExamples]:
    record: RecordExamples | None = None
    try:
        for element in stream:
            if line := element["line"].numpy():
                if record is not None:
                    yield record
                record = RecordExamples(int(record_keys([line])[0]), [])
                continue
            assert record is not None
            record.examples.append(_example(element["inputs"].numpy(), element["targets"].numpy(), aligned))
    except tf.errors.OpError as error:
        raise UserError(f"cannot read the next record: {str(error).splitlines()[0]}") from error
    if record is not None:
        yield record


def _example(inputs: np.ndarray, targets: np.ndarray, aligned: bool) -> Example:
    splits = [np.array([0, len(part)]) for part in (inputs, targets)]
    tokens, predicted, bidirectional, _ = one_sequence(inputs, splits[0], targets, splits[1], np.array([aligned]))
    return Example(tokens, predicted, bidirectional)
