"""Held-out data of a mixture, a language each, and what a model's metrics on it mean beside the unigram baseline."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping

import jax
import numpy as np
from jax.sharding import Mesh

from m5jax.data.labels import labelling, own_labels
from m5jax.data.mixtures import find_tasks
from m5jax.data.pipeline import Batch, evaluation_batches
from m5jax.data.vocabulary import current_vocabulary
from m5jax.evaluation.tables import LanguageResult
from partitioning import batch_shards

_BASELINE_EXAMPLES = 5_000  # of the training split: plenty to find its most frequent target


@dataclasses.dataclass(frozen=True)
class UnigramBaseline:
    """What knowing nothing but how frequent each target is in the training data scores.

    Attributes:
        accuracy: of always answering the most frequent target, 0 to 1.
        loss: cross entropy of the frequencies, each token counted once more than seen, in nats.
    """

    accuracy: float
    loss: float


def held_out_batches(
    tasks: Mapping[str, str], mesh: Mesh, *, length: int, targets_length: int, batch_size: int, max_examples: int
) -> dict[str, list[Batch]]:
    """Returns this process's rows of the held-out batches of each language.

    Args:
        tasks: task names by language.
        mesh: its devices share the rows of a batch.
        length, targets_length: of rows, as in `training_batches`.
        batch_size: rows in a batch over all processes, rounded up to a multiple of what the mesh divides them by.
        max_examples: at most so many a language.
    """
    rows = -(-batch_size // batch_shards(mesh)) * batch_shards(mesh)
    share = rows // jax.process_count()
    mine = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
    return {
        language: [
            {name: array[mine] for name, array in batch.items()}
            for batch in evaluation_batches(
                task, length=length, targets_length=targets_length, batch_size=rows, max_examples=max_examples
            )
        ]
        for language, task in tasks.items()
    }


def language_results(
    tasks: Mapping[str, str], values: Mapping[str, float], *, length: int, targets_length: int, max_examples: int
) -> dict[str, LanguageResult]:
    """Returns the results of each language from the `values` that `make_evaluate` and `make_task_metrics` measured on
    `held_out_batches`."""
    results = {}
    for language, task in tasks.items():
        batches = functools.partial(
            evaluation_batches, task, length=length, targets_length=targets_length, batch_size=64
        )
        training, held_out = batches(split="train", max_examples=_BASELINE_EXAMPLES), batches(max_examples=max_examples)
        baseline = unigram_baseline(training, held_out, _possible_targets(task))
        results[language] = LanguageResult(
            loss=values[f"evaluation/{language}/loss"],
            accuracy=values[f"evaluation/{language}/accuracy"],
            unigram_accuracy=baseline.accuracy,
            unigram_loss=baseline.loss,
            metrics=_own_metrics(language, values),
        )
    return results


def _own_metrics(language: str, values: Mapping[str, float]) -> dict[str, float]:
    prefix = f"evaluation/{language}/"
    names = {name: name.removeprefix(prefix) for name in values if name.startswith(prefix)}
    return {own: values[name] for name, own in names.items() if own not in ("loss", "accuracy")}


def _possible_targets(task: str) -> np.ndarray:
    """Returns bool [ids]: what a task may have to predict: its labels, or any text."""
    vocabulary, step = current_vocabulary(), labelling(find_tasks(task)[0])
    ids = np.arange(vocabulary.size)
    return (
        ids < vocabulary.text_size if step is None else np.isin(ids, [*own_labels(vocabulary, step.label_set).values()])
    )


def unigram_baseline(training: Iterable[Batch], held_out: Iterable[Batch], possible: np.ndarray) -> UnigramBaseline:
    """Returns what the frequencies of the targets of `training` score on those of `held_out`.

    Args:
        training, held_out: batches.
        possible: bool [ids]: which ids can be a target.
    """
    counts = possible.astype(np.float64)
    for batch in training:
        counts += np.bincount(_targets(batch), minlength=len(possible))
    losses = np.log(counts.sum()) - np.log(np.maximum(counts, np.finfo(np.float64).tiny))
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
