"""Endless shuffled batches of examples in memory, whose position is the number of the next example."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from m5jax.errors import UserError
from m5jax.finetuning.rows import Batch, PairRows, Rows, bucket

POSITION, NEGATIVES = "position.json", "negatives.npy"
# Batches whose examples are sorted together, so that those of one batch are padded to like lengths.
BATCHES_A_WINDOW = 16


class ShuffledBatches(Iterator[Batch]):
    """Host batches of rows, each example once an epoch, in an order that follows from the seed and the epoch.

    Args:
        rows: the examples.
        weights: of the examples, float32.
        batch_size: examples in a batch of all processes together.
        seed: of the order.
        share_index: which part of each batch this process reads.
        share_count: how many equal parts there are, which divides `batch_size`.
    """

    of_all_processes = True

    def __init__(
        self,
        rows: Rows,
        weights: np.ndarray,
        batch_size: int,
        seed: int,
        share_index: int = 0,
        share_count: int = 1,
    ) -> None:
        if batch_size < 1 or batch_size % share_count:
            raise UserError(f"a batch of {batch_size} rows does not split into {share_count} equal parts")
        self.rows, self._weights, self._batch_size, self._seed = rows, weights, batch_size, seed
        share = batch_size // share_count
        self._own = slice(share_index * share, (share_index + 1) * share)
        self.next_example = 0
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of the examples, but for mined negatives, and of what their order follows from."""
        described = hashlib.blake2b(f"{self._batch_size} {self._seed}".encode(), digest_size=8)
        for array in (*_arrays(self.rows), self._weights):
            described.update(np.ascontiguousarray(array).tobytes())
        return described.hexdigest()

    def __next__(self) -> Batch:
        indices = np.array([self._example(self.next_example + row) for row in range(self._batch_size)])
        self.next_example += self._batch_size
        # Padded to the longest of the whole batch, which all processes know.
        batch = self.rows.batch(indices, self._weights[indices])
        return {name: array[self._own] for name, array in batch.items()}

    def replace_negatives(self, negatives: np.ndarray) -> None:
        """Gives the examples other mined negatives, int64 [examples, several]."""
        assert isinstance(self.rows, PairRows)
        self.rows = dataclasses.replace(self.rows, negatives=negatives)

    def save(self, directory: Path) -> None:
        """Writes the position into `directory`; raises UserError where that fails."""
        position = {"next_example": self.next_example, "examples": self.fingerprint}
        try:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / POSITION).write_text(json.dumps(position) + "\n", encoding="utf-8")
            if isinstance(self.rows, PairRows):
                np.save(directory / NEGATIVES, self.rows.negatives)
        except OSError as error:
            raise UserError(f"cannot save the data position in {directory}: {error.strerror or error}") from error

    def restore(self, directory: Path) -> None:
        """Goes to the position in `directory`; raises UserError where there is none in these examples."""
        try:
            position: dict[str, Any] = json.loads((directory / POSITION).read_text(encoding="utf-8"))
            next_example, fingerprint = int(position["next_example"]), position["examples"]
            path = directory / NEGATIVES
            negatives = np.load(path, allow_pickle=False) if path.exists() else None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"no data position of examples can be read in {directory}: {error}") from error
        if fingerprint != self.fingerprint:
            raise UserError(f"the data position in {directory} is of other examples, batches or seed")
        self.next_example = next_example
        if negatives is not None:
            self.replace_negatives(negatives)

    def _example(self, number: int) -> int:
        count = len(self._weights)
        if number // count != self._epoch:
            self._epoch = number // count
            self._order = epoch_order(self.rows.lengths, self._batch_size, self._seed, self._epoch)
        return int(self._order[number % count])


def _arrays(rows: Any) -> Iterator[np.ndarray]:
    for field in dataclasses.fields(rows):
        value = getattr(rows, field.name)
        if dataclasses.is_dataclass(value):
            yield from _arrays(value)
        elif value is not None and field.name != "negatives":
            yield value


def epoch_order(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of an epoch, int64 [examples]: random windows, each sorted by what lengths are padded to and
    cut into batches, and the batches in random order."""
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(len(lengths))
    window = batch_size * BATCHES_A_WINDOW
    parts = [order[start : start + window] for start in range(0, len(order), window)]
    # By lengths themselves, few examples would be in the same batches in all epochs.
    sizes = np.array([bucket(int(length)) for length in lengths])
    order = np.concatenate([part[np.argsort(sizes[part], kind="stable")] for part in parts])
    whole = len(order) // batch_size * batch_size
    batches = order[:whole].reshape(-1, batch_size)
    return np.concatenate([batches[generator.permutation(len(batches))].reshape(-1), order[whole:]])
