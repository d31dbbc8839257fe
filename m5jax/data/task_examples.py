"""The examples of one task, and what a pipeline of them needs."""

import functools
import os
from collections.abc import Mapping
from typing import Any

import seqio
import tensorflow as tf

from m5jax.data.batch_iterator import reason
from m5jax.data.corpus_source import serialize_pairs
from m5jax.data.iterate import DatasetIterator
from m5jax.data.labels import LabelExamples
from m5jax.errors import UserError


def task_examples(task: seqio.Task, lengths: Mapping[str, int], **settings: Any) -> tf.data.Dataset:
    """Returns a task's examples; raises UserError where its own preprocessors fail or make something else."""
    try:
        # The cached records would be part of every saved position.
        return task.get_dataset(lengths, trim_output_features=False, try_in_mem_cache=False, **settings)
    except UserError:
        raise
    except Exception as error:  # of a user's code
        last = [line.strip() for line in str(error).splitlines() if line.strip()][-1:]
        raise UserError(f"task {task.name}: {''.join(last) or type(error).__name__}") from error


def with_task_number(dataset: tf.data.Dataset, number: int) -> tf.data.Dataset:
    return dataset.map(lambda example: {**{name: example[name] for name in ("inputs", "targets")}, "task": number})


def check_not_empty(task: seqio.Task, lengths: Mapping[str, int], split: str, shard: seqio.ShardInfo | None) -> None:
    """Raises UserError where a task that may leave records out leaves out all, which would be an endless wait."""
    if not any(leaves_out(step) for step in task.preprocessors):
        return
    # As it is without a cache: the steps are the same.
    examples = task_examples(task, lengths, split=split, shuffle=False, seed=0, num_epochs=1, shard_info=shard)
    try:
        found = next(DatasetIterator(examples), None)
    except tf.errors.OpError as error:
        raise UserError(f"cannot read the first example of task {task.name}: {reason(error)}") from error
    if found is None:
        raise UserError(f"task {task.name}: none of its {split} records gives an example")


def leaves_out(step: Any) -> bool:
    """Whether a preprocessor may make no example of a record: it is of labelled or text-to-text tasks."""
    function = step.func if isinstance(step, functools.partial) else step
    return isinstance(step, LabelExamples) or function is serialize_pairs


def host_shard(counts: Mapping[str, int], split: str, index: int, count: int) -> seqio.ShardInfo | None:
    """Returns a host's share of the records; None for the only host. Raises UserError where a task has too few."""
    if not 0 <= index < count:
        raise UserError(f"the data shard {index} of {count} does not exist")
    for task, records in counts.items():
        if records < count:
            raise UserError(f"task {task} has {records} {split} records, too few for {count} hosts")
    return seqio.ShardInfo(index, count) if count > 1 else None


def check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise UserError(f"the batch size of a host is {batch_size}, allowed: 1 or more")


def reading_options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    # Threads of its own, one a core, each running one operation at a time: the trainer needs the cores too.
    options.threading.private_threadpool_size = len(os.sched_getaffinity(0))
    options.threading.max_intra_op_parallelism = 1
    return options
