"""Held-out examples of a task as host batches, the same in every call and process."""

from collections.abc import Iterator, Mapping

import numpy as np
import seqio
import tensorflow as tf

from m5jax.data.batch_iterator import Batch, next_batch
from m5jax.data.iterate import DatasetIterator
from m5jax.data.mixtures import find_tasks, record_count
from m5jax.data.row_shape import RowShape
from m5jax.data.task_examples import check_batch_size, reading_options, task_examples, with_task_number
from m5jax.errors import UserError

_SEED = 0


def evaluation_batches(
    name: str,
    *,
    length: int,
    targets_length: int = 0,
    separate_targets: bool = False,
    batch_size: int,
    split: str = "validation",
    max_examples: int | None = None,
    pack: bool = True,
) -> Iterator[Batch]:
    """Yields the examples of one task once each, in a fixed order with fixed masks: the same in every call and process.

    The last batch is filled up with rows of zeros. Several hosts each make all batches and take their rows of them.

    Args:
        name: a registered task.
        length, targets_length, separate_targets: as in `training_batches`.
        batch_size: rows in a batch.
        split: the split to read.
        max_examples: only the first so many, after long texts were split.
        pack: whether rows hold several examples.

    Raises:
        UserError: as `training_batches`, and for a mixture, whose tasks are evaluated one by one.
    """
    tasks = find_tasks(name)
    shape = RowShape(tasks, length, targets_length, separate_targets)
    check_batch_size(batch_size)
    if len(tasks) != 1:
        raise UserError(f"{name} is a mixture; evaluate its tasks: {', '.join(task.name for task in tasks)}")
    examples = with_task_number(_fixed_examples(tasks[0], shape.feature_lengths, split, max_examples), 0)
    rows = shape.converter(pack)(examples, shape.feature_lengths | {"task": 1})
    # A generator's own body would run, and raise, only at the first batch.
    return _padded_batches(rows.batch(batch_size).prefetch(1).with_options(reading_options()), batch_size, name, split)


def evaluation_tasks(*names: str) -> dict[str, str]:
    """Returns label -> task name of each task in mixtures: the label is the language where only one task has it.

    Raises:
        UserError: an unknown name.
    """
    tasks = find_tasks(*names)
    languages = [getattr(task.source, "language", task.name) for task in tasks]
    return {
        language if languages.count(language) == 1 else task.name: task.name
        for task, language in zip(tasks, languages, strict=True)
    }


def _fixed_examples(
    task: seqio.Task, lengths: Mapping[str, int], split: str, max_examples: int | None
) -> tf.data.Dataset:
    record_count(task, split)
    examples = task_examples(task, lengths, split=split, shuffle=False, seed=_SEED, num_epochs=1)
    return examples if max_examples is None else examples.take(max_examples)


def _padded_batches(dataset: tf.data.Dataset, batch_size: int, name: str, split: str) -> Iterator[Batch]:
    batches = DatasetIterator(dataset)
    empty = True
    while (batch := next_batch(batches)) is not None:
        empty = False
        missing = batch_size - len(batch["inputs"])
        if missing:
            batch = {name: np.pad(value, [(0, missing), (0, 0)]) for name, value in batch.items()}
        yield batch
    if empty:
        raise UserError(f"task {name}: none of its {split} records gives an example")
