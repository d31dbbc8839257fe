"""Held-out data of a mixture as its tasks make it."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping

import numpy as np

from m5jax.data.batch_iterator import Batch
from m5jax.data.evaluation_batches import evaluation_batches
from m5jax.data.held_out_rows import HeldOutRows, batches_of
from m5jax.data.labels import labelling, own_labels
from m5jax.data.mixtures import find_tasks
from m5jax.data.vocabulary import UNK_ID, current_vocabulary
from m5jax.evaluation.held_out import count_targets

_BASELINE_EXAMPLES = 5_000  # of the training split: plenty to find what is most frequent in it
_BASELINE_SHARE = 10  # times the held-out examples: what is measured on few of these is worth no more
_ROWS_AT_ONCE = 64


@dataclasses.dataclass(frozen=True)
class LiveHeldOut:
    """The held-out examples of each task, read once.

    Attributes:
        tasks: names by label, see `evaluation_tasks`.
        length, targets_length, separate_targets: of rows, as in `training_batches`.
        max_examples: at most so many a label.
    """

    tasks: Mapping[str, str]
    length: int
    targets_length: int
    max_examples: int
    separate_targets: bool = False
    _read: dict[str, Batch] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.tasks)

    def batches(self, label: str, batch_size: int) -> Iterator[Batch]:
        return batches_of(self._rows(label), batch_size)

    def target_counts(self, label: str) -> np.ndarray:
        most = min(_BASELINE_EXAMPLES, _BASELINE_SHARE * self.max_examples)
        return count_targets(self.training_batches(label, most), possible_targets(self.tasks[label]))

    def training_batches(self, label: str, most: int = _BASELINE_EXAMPLES) -> Iterator[Batch]:
        """Yields the rows of some training examples, enough to find what is most frequent in them."""
        return self._batches(label)(batch_size=_ROWS_AT_ONCE, split="train", max_examples=most)

    def rows(self) -> dict[str, HeldOutRows]:
        """Returns all rows of each label, to be written down."""
        return {label: HeldOutRows(self._rows(label), self.target_counts(label)) for label in self.labels}

    def _rows(self, label: str) -> Batch:
        if label not in self._read:
            batches = self._batches(label)(batch_size=_ROWS_AT_ONCE, max_examples=self.max_examples)
            self._read[label] = _without_padding(batches)
        return self._read[label]

    def _batches(self, label: str) -> functools.partial[Iterator[Batch]]:
        return functools.partial(
            evaluation_batches,
            self.tasks[label],
            length=self.length,
            targets_length=self.targets_length,
            separate_targets=self.separate_targets,
        )


def possible_targets(task: str) -> np.ndarray:
    """Returns bool [ids]: what a task may have to predict: its labels and what is none, or any text."""
    vocabulary, step = current_vocabulary(), labelling(find_tasks(task)[0])
    ids = np.arange(vocabulary.size)
    if step is None:
        return ids < vocabulary.text_size
    return np.isin(ids, [*own_labels(vocabulary, step.label_set).values(), UNK_ID])


def _without_padding(batches: Iterator[Batch]) -> Batch:
    parts = [{name: array[batch["segment_ids"].any(axis=1)] for name, array in batch.items()} for batch in batches]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
