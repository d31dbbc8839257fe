"""Host batches out of TensorFlow, at a position that can be saved."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from m5jax.data.iterate import DatasetIterator
from m5jax.errors import UserError

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
        batch = next_batch(self._iterator)
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


def next_batch(batches: DatasetIterator) -> Batch | None:
    """Returns the next batch, None at the end; raises UserError where a task or its data fail."""
    try:
        tensors = next(batches, None)
    except tf.errors.OpError as error:
        raise UserError(f"cannot read the next batch: {reason(error)}") from error
    return None if tensors is None else {name: value.numpy() for name, value in tensors.items()}


def reason(error: Exception) -> str:
    """Returns what a function called by TensorFlow raised, or else the error's first line."""
    first = str(error).splitlines()[0]
    raised = re.search(r"\w*Error: (.*)", first)
    return raised[1] if raised else first
