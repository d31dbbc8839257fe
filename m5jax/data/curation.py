"""Tasks whose records are weighted by scores: easy ones left out, hard ones seen more often."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from m5jax.data.corpus_source import CorpusDataSource
from m5jax.data.default_vocabulary import default_vocabulary, register_default_vocabulary
from m5jax.data.hard_examples import HardExamples
from m5jax.data.kept import kept
from m5jax.data.mixtures import check_free, find_tasks
from m5jax.data.scores import Scores, read_scores, record_keys, scores_fingerprint
from m5jax.errors import UserError

# Held-out records stay as they are, so that runs on curated and other records can be compared.
CURATED_SPLIT = "train"
# Python is entered once for so many lines.
_LINES_AT_ONCE = 64
_LINES_COUNTED_AT_ONCE = 10_000


def add_curated_task(
    name: str,
    base_task_name: str,
    scores: str | Path | Callable[[], str | Path],
    rule: HardExamples = HardExamples(),  # noqa: B008 (immutable)
) -> None:
    """Registers a task that samples the training records of another by their scores.

    A record of weight w comes floor(w + u) times a pass, with u uniform in [0, 1) and fresh each pass: never where it
    is left out, w times in expectation. All else, held-out records included, is that of the other task.

    Args:
        name: letters, digits and underscores.
        base_task_name: a registered task over a corpus.
        scores: the file that `m5jax data score` wrote of these records, by whatever task, or a function that returns
            its path; read when data is first needed.
        rule: the weights.

    Raises:
        UserError: the name is taken, or there is no such task over a corpus.
    """
    check_free(name)
    base, *others = find_tasks(base_task_name)
    source = base.source
    if others:
        raise UserError(f"{base_task_name} is a mixture; curate its tasks, and mix the curated ones")
    if not isinstance(source, CorpusDataSource) or isinstance(source, WeightedSource):
        raise UserError(f"task {base_task_name} cannot be curated: its records are not those of a corpus")
    weights = RecordWeights(scores, rule)
    # What SeqIO's offline cache would keep is one pass, drawn once.
    steps = [step for step in base.preprocessors if not isinstance(step, seqio.CacheDatasetPlaceholder)]
    curated = base.replace(
        name=name,
        source=WeightedSource(source, weights, base_task_name),
        preprocessors=[SampleByWeight(weights), *steps],
    )
    seqio.TaskRegistry.add_provider(name, curated)
    register_default_vocabulary(name, lambda: default_vocabulary(base_task_name))


@dataclasses.dataclass(frozen=True)
class RecordWeights:
    """A file of scores and the rule that makes weights of them; see `add_curated_task`."""

    scores: str | Path | Callable[[], str | Path]
    rule: HardExamples

    @property
    def path(self) -> Path:
        return Path(self.scores() if callable(self.scores) else self.scores)

    @functools.cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray, Scores]:
        scores = read_scores(self.path)
        keys, first = np.unique(scores.keys, return_index=True)
        return keys, self.rule.weights(scores.losses)[first], scores

    @property
    def described(self) -> Scores:
        """The scores; raises UserError where they cannot be read."""
        return self._table[2]

    def of(self, lines: Iterable[bytes]) -> np.ndarray:
        """Returns float64 [lines], NaN where a canonical line has no score."""
        keys, weights, _ = self._table
        own = record_keys(lines)
        places = np.minimum(np.searchsorted(keys, own), max(len(keys) - 1, 0))
        if not len(keys):
            return np.full(len(own), np.nan)
        return np.where(keys[places] == own, weights[places], np.nan)

    def __str__(self) -> str:
        """Tells these weights from those of other scores; raises UserError where the file cannot be read."""
        return f"scores {scores_fingerprint(self.path)}, {self.rule}"


@dataclasses.dataclass(frozen=True)
class CuratedCounts:
    """What a split of a corpus is after curation.

    Attributes:
        records: before.
        kept: of those, how many have a weight above 0.
        examples: the sum of the weights: the records that a pass sees, in expectation.
        bytes: the sum of the weighted sizes of the lines.
        largest: of the weights.
    """

    records: int
    kept: int
    examples: float
    bytes: float
    largest: float


# Read for each batch of lines.
_COUNTS: dict[Path, CuratedCounts] = {}


class WeightedSource(CorpusDataSource):
    """The lines of a corpus with their weights: `line`, a scalar string, and `weight`, float64, 1 in held-out splits.

    Its methods raise UserError as those of its base, and where a record has no score.
    """

    def __init__(self, base: CorpusDataSource, weights: RecordWeights, base_task_name: str) -> None:
        super().__init__(base.corpus, base.language)
        self._weights, self._base_task_name = weights, base_task_name

    def num_input_examples(self, split: str) -> int:
        if split != CURATED_SPLIT or not super().num_input_examples(split):
            return super().num_input_examples(split)
        return round(self.counts().examples)

    def utf8_bytes(self, split: str) -> int:
        return round(self.counts().bytes) if split == CURATED_SPLIT else super().utf8_bytes(split)

    def get_dataset(self, split: str = CURATED_SPLIT, *arguments: Any, **named: Any) -> tf.data.Dataset:
        lines = super().get_dataset(split, *arguments, **named)
        if split != CURATED_SPLIT:
            return lines.map(lambda line: {"line": line, "weight": tf.constant(1.0, tf.float64)})
        self.counts()  # every line has a score

        def weigh(batch: tf.Tensor) -> dict[str, tf.Tensor]:
            # Not stateful, so that the position of the iterator can be saved.
            weights = tf.numpy_function(self._weights.of, [batch], tf.float64, stateful=False)
            return {"line": batch, "weight": tf.ensure_shape(weights, [None])}

        return lines.batch(_LINES_AT_ONCE).map(weigh, num_parallel_calls=tf.data.AUTOTUNE).unbatch()

    def counts(self) -> CuratedCounts:
        """Returns the sizes of the training split, counted once for a corpus and kept beside it."""
        described = f"{self._weights}, {self.language}"
        name = hashlib.blake2b(described.encode("utf-8"), digest_size=8).hexdigest()
        path = self.corpus().directory / f"curation-{name}.json"
        if path not in _COUNTS:
            _COUNTS[path] = CuratedCounts(**kept(path, lambda: dataclasses.asdict(self._count())))
        return _COUNTS[path]

    def summary(self) -> str:
        """Returns what curation does to the training records, in a line."""
        counts = self.counts()
        return (
            f"Curated from {self._base_task_name} by {self._weights}: {counts.kept:,} of {counts.records:,} records "
            f"are kept, {counts.examples:,.0f} expected in a pass, of a weight up to {counts.largest:.2f}"
        )

    def _count(self) -> CuratedCounts:
        records = kept = missing = 0
        examples = size = largest = 0.0
        for lines in self._lines():
            weights = self._weights.of(lines)
            records += len(lines)
            missing += int(np.isnan(weights).sum())
            kept += int((weights > 0).sum())
            examples += float(weights.sum())
            largest = max(largest, float(weights.max()))
            size += float(weights @ [len(line) + 1 for line in lines])
        if missing:
            scores = self._weights.described
            made_of = f" of task {scores.description['task']}" if "task" in scores.description else ""
            raise UserError(
                f"{missing:,} of {records:,} {CURATED_SPLIT} records of task {self._base_task_name} have no score in "
                f"{scores.path} ({len(scores.keys):,} scores{made_of}); "
                f"m5jax data score --task={self._base_task_name} makes them"
            )
        return CuratedCounts(records, kept, examples, size, largest)

    def _lines(self) -> Iterator[list[bytes]]:
        batch: list[bytes] = []
        for path in self.list_shards(CURATED_SPLIT):
            with open(path, "rb") as lines:
                for line in lines:
                    batch.append(line.rstrip(b"\n"))
                    if len(batch) == _LINES_COUNTED_AT_ONCE:
                        yield batch
                        batch = []
        if batch:
            yield batch


class SampleByWeight:
    """SeqIO preprocessor from `line` and `weight`, float64, to lines: each floor(weight + u) times, with u uniform in
    [0, 1) from SeqIO's seed, fresh each pass.

    Attributes:
        __name__: what definitions and `m5jax tasks show` call it.
    """

    def __init__(self, weights: RecordWeights) -> None:
        self._weights = weights

    @property
    def __name__(self) -> str:  # noqa: A003
        return f"sample_by_weight({self._weights})"

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        def draw(record: dict[str, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            # In float64: in float32, 1 + u may be 2.
            copies = tf.floor(record["weight"] + tf.random.stateless_uniform([], seed, dtype=tf.float64))
            return record["line"], tf.cast(copies, tf.int64)

        drawn = seqio.map_over_dataset(num_seeds=1)(draw)(dataset)
        return drawn.flat_map(lambda line, copies: tf.data.Dataset.from_tensors(line).repeat(copies))
