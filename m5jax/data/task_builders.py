"""From a corpus to registered SeqIO tasks: `add_masked_lm_tasks` is all that a module of `tasks/` calls.

Registration reads no data. A corpus is ingested, and the run's vocabulary looked up, when a dataset is first built.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import seqio
import tensorflow as tf

from m5jax.data.corpus import Corpus
from m5jax.data.masking import DEFAULT_MASKING_RATE, MaskTokens, split_long_examples
from m5jax.data.mixing import DEFAULT_ALPHA
from m5jax.data.records import ProductRecord, RecordKind, TextRecord
from m5jax.data.seqio_vocabulary import RunVocabulary
from m5jax.data.serialize import serialize_product, serialize_text
from m5jax.data.vocabulary import train_vocabulary
from m5jax.errors import UserError

SPLITS = ("train", "validation", "test")
OUTPUT_FEATURES = {
    "inputs": seqio.Feature(RunVocabulary(), add_eos=True),
    "targets": seqio.Feature(RunVocabulary(), add_eos=True),
}
# Python is entered once for so many lines.
_LINES_AT_ONCE = 64


class CorpusDataSource(seqio.TextLineDataSource):
    """The canonical lines of one language of a corpus, which `corpus` returns when they are first needed.

    Its methods raise UserError where the corpus has no such language or split.
    """

    def __init__(self, corpus: Callable[[], Corpus], language: str) -> None:
        super().__init__(split_to_filepattern=dict.fromkeys(SPLITS, ""))
        self.corpus, self.language = corpus, language

    def list_shards(self, split: str) -> Sequence[str]:
        return [str(path) for path in self.corpus().files(self.language, split)]

    def num_input_examples(self, split: str) -> int:
        return self.corpus().count(self.language, split)


def serialize_line(kind: RecordKind, line: str | bytes) -> str:
    """Returns the text that the model reads for one canonical line."""
    if kind == "product":
        return serialize_product(ProductRecord.from_json(line))
    return serialize_text(TextRecord.from_json(line))


def serialize_records(dataset: tf.data.Dataset, kind: RecordKind) -> tf.data.Dataset:
    """SeqIO preprocessor: from canonical lines, scalar strings, to `inputs`, the serialized text."""

    def serialize(lines: np.ndarray) -> np.ndarray:
        return np.array([serialize_line(kind, line).encode("utf-8") for line in lines], dtype=object)

    def serialize_batch(lines: tf.Tensor) -> dict[str, tf.Tensor]:
        # Not stateful, so that the position of the iterator can be saved.
        return {"inputs": tf.numpy_function(serialize, [lines], tf.string, stateful=False)}

    batches = dataset.batch(_LINES_AT_ONCE).map(serialize_batch, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.unbatch().map(lambda example: {"inputs": tf.ensure_shape(example["inputs"], [])})


def add_masked_lm_tasks(
    name: str,
    corpus: Callable[[], Corpus],
    languages: Sequence[str],
    kind: RecordKind = "product",
    masking_rate: float = DEFAULT_MASKING_RATE,
) -> str:
    """Registers the masked-LM task `NAME_LANGUAGE_mlm` of each language and their mixture `NAME_mlm`.

    The mixture's own rates are n_i**0.5, n_i being the training records of a language; a run replaces them by its own
    exponent.

    Args:
        name: letters, digits and underscores.
        corpus: called once, when data is first needed.
        languages: those of the corpus to use.
        kind: of the corpus's records.
        masking_rate: share of the text tokens to mask.

    Returns:
        The name of the mixture.

    Raises:
        UserError: a name is taken, or `languages` is empty.
    """
    if not languages:
        raise UserError(f"cannot register {name}: no language is named")
    corpus = functools.cache(corpus)
    tasks = [f"{name}_{language.replace('-', '_')}_mlm" for language in languages]
    mixture = f"{name}_mlm"
    for taken in {*tasks, mixture} & {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}:
        raise UserError(f"task {taken} is registered already; choose another name")
    for task, language in zip(tasks, languages, strict=True):
        seqio.TaskRegistry.add(
            task,
            source=CorpusDataSource(corpus, language),
            preprocessors=[
                functools.partial(serialize_records, kind=kind),
                functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=False),
                seqio.preprocessors.append_eos,
                split_long_examples,
                MaskTokens(masking_rate),
            ],
            output_features=OUTPUT_FEATURES,
        )
    seqio.MixtureRegistry.add(mixture, tasks, default_rate=_default_rate)
    return mixture


def _default_rate(task: seqio.Task) -> float:
    return float(task.num_input_examples("train")) ** DEFAULT_ALPHA


def train_corpus_vocabulary(
    corpus: Corpus, languages: Sequence[str], *, size: int, output: str | Path, seed: int = 0
) -> None:
    """Trains a vocabulary on the training split of a corpus, as serialized for the model; see `train_vocabulary`."""
    counts = {language: corpus.count(language, "train") for language in languages}
    texts = {language: _serialized(corpus, language) for language in languages}
    train_vocabulary(texts, counts, size=size, output=output, seed=seed)


def _serialized(corpus: Corpus, language: str) -> Iterator[str]:
    for path in corpus.files(language, "train"):
        with path.open("rb") as lines:
            for line in lines:
                yield serialize_line(corpus.kind, line)
