"""How many tokens a task's records have in the current vocabulary: counted once, and kept.

    <corpus>/token_counts/<vocabulary>-<definition>.json      beside a corpus, whose directory has its fingerprint
    <cache>/token_counts/<vocabulary>-<definition>.json       of other sources, by name and version

`definition` is a hash of the source, language, split and the steps up to tokenizing, which the file repeats.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import seqio
import tensorflow as tf

from m5jax.data.cache import cache_directory
from m5jax.data.corpus_source import CorpusDataSource
from m5jax.data.described import described
from m5jax.data.iterate import DatasetIterator
from m5jax.data.kept import kept
from m5jax.data.vocabulary import current_vocabulary
from m5jax.errors import UserError

# Of sources that are not ingested. TensorFlow Datasets shuffles records when it prepares them, so the first are a
# random sample.
SAMPLE = 20_000
_RECORDS_AT_ONCE = 1_024
_SEED = 0
# Nothing is cut or split.
_ENDLESS = {"inputs": 2**30, "targets": 2**30}


@dataclasses.dataclass(frozen=True)
class TokenCount:
    """Tokens of a split, end tokens included; `relative_error` is the standard error of an estimate, 0 for a count."""

    tokens: int
    relative_error: float = 0.0


def count_tokens(task: seqio.Task, split: str, records: int) -> TokenCount:
    """Returns the tokens of a task's `records` records, inputs and targets, as it serializes them.

    Exact for corpora (formats that drop or shuffle attributes: of one pass), else from the first `SAMPLE` records.

    Raises:
        UserError: the task reads a source without an identity or makes no inputs, no vocabulary is set, or the count
            cannot be written.
    """
    if not hasattr(task.source, "identity"):
        raise UserError(f"task {task.name} reads no corpus, so its tokens are not known; mix by examples")
    definition = {
        "source": task.source.identity,
        "language": task.source.language,
        "split": split,
        "records": records,
        "vocabulary": current_vocabulary().fingerprint,
        "steps": [described(step) for step in _serializing_steps(task)],
    }
    path = _path(task, definition)
    found = kept(path, lambda: {**dataclasses.asdict(_counted(task, split, records)), **definition})
    try:
        return TokenCount(int(found["tokens"]), float(found["relative_error"]))
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is no count of tokens ({error}); delete it to have it made again") from error


def _serializing_steps(task: seqio.Task) -> list[Any]:
    """Returns the steps before the one that tokenizes; all of a task without one, whose steps give tokens."""
    steps = itertools.takewhile(lambda step: not _tokenizes(step), task.preprocessors)
    return [step for step in steps if not isinstance(step, seqio.CacheDatasetPlaceholder)]


def _tokenizes(step: Any) -> bool:
    return (step.func if isinstance(step, functools.partial) else step) is seqio.preprocessors.tokenize


def _path(task: seqio.Task, definition: dict[str, Any]) -> Path:
    source = task.source
    directory = source.corpus().directory if isinstance(source, CorpusDataSource) else cache_directory()
    digest = hashlib.blake2b(json.dumps(definition, sort_keys=True).encode("utf-8"), digest_size=6).hexdigest()
    return directory / "token_counts" / f"{definition['vocabulary']}-{digest}.json"


def _counted(task: seqio.Task, split: str, records: int) -> TokenCount:
    is_sample = not isinstance(task.source, CorpusDataSource) and records > SAMPLE
    total = squares = 0
    for lengths in _lengths(task, split, SAMPLE if is_sample else None):
        total += sum(lengths)
        squares += sum(length * length for length in lengths)
    if not is_sample or not total:
        return TokenCount(total)
    mean = total / SAMPLE  # of the records read; those that give no example have no tokens
    variance = squares / SAMPLE - mean * mean
    return TokenCount(round(mean * records), math.sqrt(variance / SAMPLE) / mean)


def _lengths(task: seqio.Task, split: str, first: int | None) -> Iterator[list[int]]:
    """Yields the tokens of each example, a number of examples at a time."""
    dataset = task.source.get_dataset(split, shuffle=False)
    dataset = dataset if first is None else dataset.take(first)
    with seqio.utils.map_seed_manager(_SEED):
        for step in _serializing_steps(task):
            dataset = seqio.utils.add_kwargs_to_transform(
                step, sequence_length=_ENDLESS, output_features=task.output_features
            )(dataset)
    if not isinstance(dataset.element_spec, dict) or "inputs" not in dataset.element_spec:
        raise UserError(f"task {task.name} makes no inputs to count the tokens of; mix by examples")
    if dataset.element_spec["inputs"].dtype != tf.string:
        for batch in DatasetIterator(dataset.ragged_batch(_RECORDS_AT_ONCE)):
            yield batch["inputs"].row_lengths().numpy().tolist()
        return
    for batch in DatasetIterator(dataset.batch(_RECORDS_AT_ONCE)):
        columns = [values.numpy() for name, values in batch.items() if name in task.output_features]
        lengths = [map(len, current_vocabulary().encode([text.decode("utf-8") for text in texts])) for texts in columns]
        # Each text is followed by an end token.
        yield [sum(texts) + len(columns) for texts in zip(*lengths, strict=True)]
