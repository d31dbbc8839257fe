"""Held-out data of a mixture, a language each, and what a model's metrics on it mean beside the unigram baseline."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import numpy as np
from jax.sharding import Mesh

from m5jax.data.held_out_rows import Batch, HeldOutRows
from m5jax.evaluation.tables import LanguageResult
from partitioning import batch_shards, batch_share


class HeldOut(Protocol):
    """Held-out data by label, a language or a task; live (`m5jax.evaluation.live_held_out`) or written down."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    def batches(self, label: str, batch_size: int) -> Iterator[Batch]:
        """Yields the held-out rows, in a fixed order, the last batch filled up with rows of zeros."""
        ...

    def target_counts(self, label: str) -> np.ndarray:
        """Returns int64 [ids]: how often each id is predicted in training data; see `count_targets`."""
        ...


@dataclasses.dataclass(frozen=True)
class WrittenHeldOut:
    """Held-out rows that `m5jax.data.held_out_rows.read_held_out` read. Needs neither TensorFlow nor the tasks."""

    rows: Mapping[str, HeldOutRows]

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.rows)

    def batches(self, label: str, batch_size: int) -> Iterator[Batch]:
        return self.rows[label].batches(batch_size)

    def target_counts(self, label: str) -> np.ndarray:
        return self.rows[label].target_counts


@dataclasses.dataclass(frozen=True)
class UnigramBaseline:
    """What knowing nothing but how frequent each target is in the training data scores.

    Attributes:
        accuracy: of always answering the most frequent target, 0 to 1.
        loss: cross entropy of the frequencies, each token counted once more than seen, in nats.
    """

    accuracy: float
    loss: float


def held_out_batches(held_out: HeldOut, mesh: Mesh, batch_size: int) -> dict[str, list[Batch]]:
    """Returns this process's rows of the held-out batches of each label.

    Args:
        held_out: the rows.
        mesh: its devices share the rows of a batch.
        batch_size: rows in a batch over all processes, rounded up to a multiple of what the mesh divides them by.
    """
    rows = -(-batch_size // batch_shards(mesh)) * batch_shards(mesh)
    share = batch_share(mesh)
    own = rows // share.count
    mine = slice(share.index * own, (share.index + 1) * own)
    return {
        label: [{name: array[mine] for name, array in batch.items()} for batch in held_out.batches(label, rows)]
        for label in held_out.labels
    }


def language_results(held_out: HeldOut, values: Mapping[str, float]) -> dict[str, LanguageResult]:
    """Returns the results of each label from the `values` that `make_evaluate` and `make_task_metrics` measured on
    `held_out_batches`."""
    results = {}
    for label in held_out.labels:
        baseline = unigram_baseline(held_out.target_counts(label), held_out.batches(label, 64))
        results[label] = LanguageResult(
            loss=values[f"evaluation/{label}/loss"],
            accuracy=values[f"evaluation/{label}/accuracy"],
            unigram_accuracy=baseline.accuracy,
            unigram_loss=baseline.loss,
            metrics=_own_metrics(label, values),
        )
    return results


def _own_metrics(label: str, values: Mapping[str, float]) -> dict[str, float]:
    prefix = f"evaluation/{label}/"
    names = {name: name.removeprefix(prefix) for name in values if name.startswith(prefix)}
    return {own: values[name] for name, own in names.items() if own not in ("loss", "accuracy")}


def count_targets(training: Iterable[Batch], possible: np.ndarray) -> np.ndarray:
    """Returns int64 [ids]: how often each id is predicted, those that could be (bool [ids]) once more than seen."""
    counts = possible.astype(np.int64)
    for batch in training:
        counts += np.bincount(_targets(batch), minlength=len(possible))
    return counts


def unigram_baseline(target_counts: np.ndarray, held_out: Iterable[Batch]) -> UnigramBaseline:
    """Returns the scores of the frequencies of training targets, from `count_targets`, on those of `held_out`."""
    counts = np.maximum(target_counts, np.finfo(np.float64).tiny)
    losses = np.log(counts.sum()) - np.log(counts)
    answer = int(np.argmax(counts))
    hits = loss = predictions = 0.0
    for batch in held_out:
        targets = _targets(batch)
        hits += float((targets == answer).sum())
        loss += float(losses[targets].sum())
        predictions += len(targets)
    return UnigramBaseline(hits / max(predictions, 1.0), loss / max(predictions, 1.0))


def _targets(batch: Batch) -> np.ndarray:
    return batch["targets"][batch["loss_weights"] > 0]
