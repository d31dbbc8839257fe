"""The live input pipeline: from the name of a SeqIO task or mixture to host batches of numpy arrays.

A batch holds the features of `m5jax.data.packing.pack_window` with a leading [batch] dimension. Everything in it
follows from the arguments here, the corpus and the current vocabulary, on any number of threads.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import seqio
import tensorflow as tf

from m5jax.data.batch_iterator import BatchIterator
from m5jax.data.described import describe_steps
from m5jax.data.masking_policy import MaskingPolicy
from m5jax.data.mixing import MixingRule, Proportional
from m5jax.data.mixtures import find_tasks, mixture_rates, record_count
from m5jax.data.preprocessors import MaskTokens
from m5jax.data.row_shape import RowShape
from m5jax.data.task_cache import cached_tasks
from m5jax.data.task_examples import (
    check_batch_size,
    check_not_empty,
    host_shard,
    reading_options,
    task_examples,
    with_task_number,
)
from m5jax.data.vocabulary import current_vocabulary

_SHUFFLE_BUFFER = 10_000
# Seeds far enough apart that no two tasks of a mixture share a random stream.
_SEEDS_OF_A_TASK = 1_000


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
    check_batch_size(batch_size)
    counts = {task.name: record_count(task, split) for task in tasks}
    shard = host_shard(counts, split, shard_index, shard_count)
    caches = None
    if cache_dir:
        tasks, caches = cached_tasks(tasks, Path(cache_dir), split)
    for task in tasks:
        check_not_empty(task, shape.feature_lengths, split, shard)
    rates = {each: mixture_rates(each, mixing, split) for each in names}
    reading = {"split": split, "shard_info": shard, "num_epochs": epochs, "use_cached": caches is not None}
    packed = functools.partial(_packed_rows, tasks, shape, counts, reading)
    rows = packed(rates[name], seed)
    if replay_mixture:
        # A task of both mixtures is read in two orders.
        replayed = packed(rates[replay_mixture], seed + _SEEDS_OF_A_TASK * len(tasks))
        rows = mix_examples([rows, replayed], [1.0 - replay, replay], seed, endless=epochs is None)
    batches = rows.batch(batch_size, drop_remainder=epochs is None).prefetch(2).with_options(reading_options())
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


def _data_read(tasks: Sequence[seqio.Task], counts: Mapping[str, int], rates: Mapping[str, float]) -> dict[str, Any]:
    """Returns what a position means nothing without: the records, and how they are mixed."""
    # By version, or the fingerprint of their input.
    corpora = [task.source.identity for task in tasks if hasattr(task.source, "identity")]
    return {"records": counts, "rates": rates, "corpora": corpora}


def _packed_rows(
    tasks: Sequence[seqio.Task],
    shape: RowShape,
    counts: Mapping[str, int],
    reading: Mapping[str, Any],
    rates: Mapping[str, float],
    seed: int,
) -> tf.data.Dataset:
    """Returns the rows of the mixture of those tasks that have a rate; `reading` is of `task_examples`."""
    examples, shares = [], []
    for number, task in enumerate(tasks):
        if task.name in rates:
            # Records of a corpus lie in a random order; those of other sources may be sorted.
            buffer, own_seed = min(_SHUFFLE_BUFFER, counts[task.name]), seed + _SEEDS_OF_A_TASK * number
            own = task_examples(
                task, shape.feature_lengths, shuffle=True, shuffle_buffer_size=buffer, seed=own_seed, **reading
            )
            examples.append(with_task_number(own, number))
            shares.append(rates[task.name])
    mixed = mix_examples(examples, shares, seed, endless=reading["num_epochs"] is None)
    return shape.converter(pack=True)(mixed, shape.feature_lengths | {"task": 1})
