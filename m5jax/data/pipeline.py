"""The live input pipeline: from the name of a SeqIO task or mixture to host batches of numpy arrays.

A batch holds the features of `m5jax.data.packing.pack_window` with a leading [batch] dimension. Everything in it
follows from the arguments here, the corpus and the current vocabulary, on any number of threads.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from m5jax.data.corpus_source import serialize_pairs
from m5jax.data.described import describe_steps
from m5jax.data.iterate import DatasetIterator
from m5jax.data.labels import LabelExamples
from m5jax.data.masking_policy import MaskingPolicy
from m5jax.data.mixing import MixingRule, Proportional
from m5jax.data.mixtures import find_tasks, mixture_rates, record_count
from m5jax.data.preprocessors import MaskTokens
from m5jax.data.row_shape import RowShape
from m5jax.data.task_cache import cached_tasks
from m5jax.data.vocabulary import current_vocabulary
from m5jax.errors import UserError

_SHUFFLE_BUFFER = 10_000
_EVALUATION_SEED = 0
# Seeds far enough apart that no two tasks of a mixture share a random stream.
_SEEDS_OF_A_TASK = 1_000

Batch = dict[str, np.ndarray]


class BatchIterator(Iterator[Batch]):
    """Host batches, whose position can be saved and restored to the batch.

    Batches made ahead are part of the position: after `restore`, the next batch is the one that would have followed
    the last one taken before `save`, bit for bit.

    Attributes:
        shapes: of each feature.
    """

    of_all_processes = False

    def __init__(self, dataset: tf.data.Dataset, settings: dict[str, Any]) -> None:
        self.shapes = {name: tuple(spec.shape) for name, spec in dataset.element_spec.items()}
        self._iterator = DatasetIterator(dataset)
        self._settings = settings

    @property
    def fingerprint(self) -> str:
        """Tells the examples from those of other settings or records; hosts that share them have the same."""
        shared = {name: value for name, value in self._settings.items() if name != "shard"}
        described = json.dumps(shared, sort_keys=True, default=str)
        return hashlib.blake2b(described.encode("utf-8"), digest_size=8).hexdigest()

    def __next__(self) -> Batch:
        batch = _next_batch(self._iterator)
        if batch is None:
            raise StopIteration
        return batch

    def save(self, directory: Path) -> None:
        """Writes the position into `directory`; raises UserError where that fails."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
            tf.train.Checkpoint(iterator=self._iterator.checkpointed).write(str(directory / "position"))
            (directory / "settings.json").write_text(json.dumps(self._settings, indent=2) + "\n", encoding="utf-8")
        except (OSError, tf.errors.OpError) as error:
            raise UserError(f"cannot save the data position in {directory}: {str(error).splitlines()[0]}") from error

    def restore(self, directory: Path) -> None:
        """Goes to the position in `directory`; raises UserError where there is none of a pipeline like this one."""
        try:
            settings = json.loads((directory / "settings.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"no data position can be read in {directory}: {error}") from error
        for name, value in self._settings.items():
            if (saved := settings.get(name)) != value:
                raise UserError(
                    f"the data position in {directory} is of another pipeline: {name} was {saved}, is {value}"
                )
        try:
            tf.train.Checkpoint(iterator=self._iterator.checkpointed).read(
                str(directory / "position")
            ).assert_consumed()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            raise UserError(f"the data position in {directory} is damaged: {str(error).splitlines()[0]}") from error


def training_batches(
    name: str,
    *,
    length: int,
    targets_length: int = 0,
    separate_targets: bool = False,
    batch_size: int,
    seed: int,
    mixing: MixingRule | None = None,
    masking: MaskingPolicy | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
    split: str = "train",
    epochs: int | None = None,
    cache_dir: str | Path = "",
    replay_mixture: str = "",
    replay: float = 0.0,
) -> BatchIterator:
    """Returns shuffled, packed batches of a task or mixture, endless unless `epochs` is given.

    The rates of a mixture's tasks are computed here, from their sizes, and not in SeqIO's registry, so that a run sets
    the rule without touching the registry.

    Args:
        name: a registered task or mixture.
        length: tokens in a row, targets that are written after their inputs included.
        targets_length: tokens of `length` for such targets, and predictions in a row where there is a task with them.
        separate_targets: targets are written into rows of their own, of `targets_length` beside `length`, for an
            encoder-decoder; features are those of `pack_pairs`.
        batch_size: rows in a batch of this host.
        seed: of the order, the masks and the mixing.
        mixing: how a mixture without fixed weights is sampled; None: `Proportional()`.
        masking: None keeps the tasks' own.
        shard_index: this host's share of the records, from 0.
        shard_count: number of hosts; each reads different records.
        split: the split to read.
        epochs: passes over the records of each task; tasks that end first leave their share to the others, and the last
            batch is smaller.
        cache_dir: directory in which `m5jax data cache` made a cache of each task, to read instead of their records;
            empty: none.
        replay_mixture: another task or mixture, of which some rows are; empty: none.
        replay: the share of these rows, each of which is drawn by it: since rows are full, that of its tokens.

    Raises:
        UserError: an unknown name, impossible shapes, a task without data in `split`, no current vocabulary, or a cache
            that is missing, damaged, or of another vocabulary, task definition or input.
    """
    names = (name, replay_mixture) if replay_mixture else (name,)
    tasks = _with_masking(find_tasks(*names), masking)
    shape = RowShape(tasks, length, targets_length, separate_targets)
    _check_batch_size(batch_size)
    counts = {task.name: record_count(task, split) for task in tasks}
    shard = _host_shard(counts, split, shard_index, shard_count)
    caches = None
    if cache_dir:
        tasks, caches = cached_tasks(tasks, Path(cache_dir), split)
    for task in tasks:
        _check_not_empty(task, shape.feature_lengths, split, shard)
    rates = {each: mixture_rates(each, mixing, split) for each in names}

    def packed(own: Mapping[str, float], seed: int) -> tf.data.Dataset:
        """Returns the rows of a mixture, given the rates of its tasks."""
        members = {number: task for number, task in enumerate(tasks) if task.name in own}
        examples = _shuffled_examples(
            members,
            shape.feature_lengths,
            split=split,
            # Records of a corpus lie in a random order; those of other sources may be sorted.
            buffers=[min(_SHUFFLE_BUFFER, counts[task.name]) for task in members.values()],
            seed=seed,
            shard_info=shard,
            num_epochs=epochs,
            use_cached=caches is not None,
        )
        mixed = mix_examples(examples, [own[task.name] for task in members.values()], seed, endless=epochs is None)
        return shape.converter(pack=True)(mixed, shape.feature_lengths | {"task": 1})

    rows = packed(rates[name], seed)
    if replay_mixture:
        # A task of both mixtures is read in two orders.
        replayed = packed(rates[replay_mixture], seed + _SEEDS_OF_A_TASK * len(tasks))
        rows = mix_examples([rows, replayed], [1.0 - replay, replay], seed, endless=epochs is None)
    batches = rows.batch(batch_size, drop_remainder=epochs is None).prefetch(2).with_options(_options())
    settings = definition(
        name,
        length=length,
        targets_length=targets_length,
        separate_targets=separate_targets,
        seed=seed,
        mixing=mixing,
        masking=masking,
        split=split,
        replay_mixture=replay_mixture,
        replay=replay,
    )
    shared = {"batch_size": batch_size, "shard": [shard_index, shard_count]}
    shared |= {"replay_rates": rates[replay_mixture]} if replay_mixture else {}
    return BatchIterator(batches, settings | {**_data_read(tasks, counts, rates[name]), "caches": caches, **shared})


def definition(
    name: str,
    *,
    length: int,
    targets_length: int = 0,
    separate_targets: bool = False,
    seed: int,
    mixing: MixingRule | None = None,
    masking: MaskingPolicy | None = None,
    split: str = "train",
    replay_mixture: str = "",
    replay: float = 0.0,
) -> dict[str, Any]:
    """Returns what `training_batches` with these arguments makes of any records, as JSON can hold it. Reads no data."""
    replayed = [task.name for task in find_tasks(replay_mixture)] if replay_mixture else []
    tasks = _with_masking(find_tasks(name, *replayed), masking)
    return {
        "tasks": {task.name: describe_steps(task.preprocessors) for task in tasks},
        "mixing": str(mixing or Proportional()),
        "vocabulary": current_vocabulary().fingerprint,
        "split": split,
        "length": length,
        "targets_length": targets_length,
        "separate_targets": separate_targets,
        "seed": seed,
    } | ({"replay": {"share": replay, "tasks": replayed}} if replay_mixture else {})


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
    _check_batch_size(batch_size)
    if len(tasks) != 1:
        raise UserError(f"{name} is a mixture; evaluate its tasks: {', '.join(task.name for task in tasks)}")
    examples = _with_task_number(_fixed_examples(tasks[0], shape.feature_lengths, split, max_examples), 0)
    rows = shape.converter(pack)(examples, shape.feature_lengths | {"task": 1})
    # A generator's own body would run, and raise, only at the first batch.
    return _padded_batches(rows.batch(batch_size).prefetch(1).with_options(_options()), batch_size, name, split)


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


def mix_examples(
    datasets: Sequence[tf.data.Dataset], rates: Sequence[float], seed: int, endless: bool = True
) -> tf.data.Dataset:
    """Draws each example from dataset i with probability `rates[i]`; of datasets with an end, from those not at it."""
    return tf.data.Dataset.sample_from_datasets(list(datasets), list(rates), seed=seed, stop_on_empty_dataset=endless)


def _with_masking(tasks: list[seqio.Task], masking: MaskingPolicy | None) -> list[seqio.Task]:
    if masking is None:
        return tasks
    return [
        task.replace(
            preprocessors=[MaskTokens(masking) if isinstance(step, MaskTokens) else step for step in task.preprocessors]
        )
        for task in tasks
    ]


def _dataset(task: seqio.Task, lengths: Mapping[str, int], **settings: Any) -> tf.data.Dataset:
    """Returns a task's examples; raises UserError where its own preprocessors fail or make something else."""
    try:
        # The cached records would be part of every saved position.
        return task.get_dataset(lengths, trim_output_features=False, try_in_mem_cache=False, **settings)
    except UserError:
        raise
    except Exception as error:  # of a user's code
        last = [line.strip() for line in str(error).splitlines() if line.strip()][-1:]
        raise UserError(f"task {task.name}: {''.join(last) or type(error).__name__}") from error


def _data_read(tasks: Sequence[seqio.Task], counts: Mapping[str, int], rates: Mapping[str, float]) -> dict[str, Any]:
    """Returns what a position means nothing without: the records, and how they are mixed."""
    # By version, or the fingerprint of their input.
    corpora = [task.source.identity for task in tasks if hasattr(task.source, "identity")]
    return {"records": counts, "rates": rates, "corpora": corpora}


def _shuffled_examples(
    tasks: Mapping[int, seqio.Task], lengths: Mapping[str, int], *, buffers: Sequence[int], seed: int, **settings: Any
) -> list[tf.data.Dataset]:
    """Returns each task's examples with its number; `buffers` are records among which an order is drawn."""
    settings |= {"shuffle": True}
    return [
        _with_task_number(
            _dataset(task, lengths, shuffle_buffer_size=buffer, seed=seed + _SEEDS_OF_A_TASK * number, **settings),
            number,
        )
        for (number, task), buffer in zip(tasks.items(), buffers, strict=True)
    ]


def _next_batch(batches: DatasetIterator) -> Batch | None:
    """Returns the next batch, None at the end; raises UserError where a task or its data fail."""
    try:
        tensors = next(batches, None)
    except tf.errors.OpError as error:
        raise UserError(f"cannot read the next batch: {_reason(error)}") from error
    return None if tensors is None else {name: value.numpy() for name, value in tensors.items()}


def _reason(error: Exception) -> str:
    """Returns what a function called by TensorFlow raised, or else the error's first line."""
    first = str(error).splitlines()[0]
    raised = re.search(r"\w*Error: (.*)", first)
    return raised[1] if raised else first


def _check_not_empty(task: seqio.Task, lengths: Mapping[str, int], split: str, shard: seqio.ShardInfo | None) -> None:
    """Raises UserError where a task that may leave records out leaves out all, which would be an endless wait."""
    if not any(leaves_out(step) for step in task.preprocessors):
        return
    # As it is without a cache: the steps are the same.
    examples = _dataset(task, lengths, split=split, shuffle=False, seed=0, num_epochs=1, shard_info=shard)
    try:
        found = next(DatasetIterator(examples), None)
    except tf.errors.OpError as error:
        raise UserError(f"cannot read the first example of task {task.name}: {_reason(error)}") from error
    if found is None:
        raise UserError(f"task {task.name}: none of its {split} records gives an example")


def leaves_out(step: Any) -> bool:
    """Whether a preprocessor may make no example of a record: it is of labelled or text-to-text tasks."""
    function = step.func if isinstance(step, functools.partial) else step
    return isinstance(step, LabelExamples) or function is serialize_pairs


def _with_task_number(dataset: tf.data.Dataset, number: int) -> tf.data.Dataset:
    return dataset.map(lambda example: {**{name: example[name] for name in ("inputs", "targets")}, "task": number})


def _fixed_examples(
    task: seqio.Task, lengths: Mapping[str, int], split: str, max_examples: int | None
) -> tf.data.Dataset:
    record_count(task, split)
    examples = _dataset(task, lengths, split=split, shuffle=False, seed=_EVALUATION_SEED, num_epochs=1)
    return examples if max_examples is None else examples.take(max_examples)


def _padded_batches(dataset: tf.data.Dataset, batch_size: int, name: str, split: str) -> Iterator[Batch]:
    batches = DatasetIterator(dataset)
    empty = True
    while (batch := _next_batch(batches)) is not None:
        empty = False
        missing = batch_size - len(batch["inputs"])
        if missing:
            batch = {name: np.pad(value, [(0, missing), (0, 0)]) for name, value in batch.items()}
        yield batch
    if empty:
        raise UserError(f"task {name}: none of its {split} records gives an example")


def _host_shard(counts: Mapping[str, int], split: str, index: int, count: int) -> seqio.ShardInfo | None:
    """Returns a host's share of the records; None for the only host. Raises UserError where a task has too few."""
    if not 0 <= index < count:
        raise UserError(f"the data shard {index} of {count} does not exist")
    for task, records in counts.items():
        if records < count:
            raise UserError(f"task {task} has {records} {split} records, too few for {count} hosts")
    return seqio.ShardInfo(index, count) if count > 1 else None


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise UserError(f"the batch size of a host is {batch_size}, allowed: 1 or more")


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    # Threads of its own, one a core, each running one operation at a time: the trainer needs the cores too.
    options.threading.private_threadpool_size = len(os.sched_getaffinity(0))
    options.threading.max_intra_op_parallelism = 1
    return options
