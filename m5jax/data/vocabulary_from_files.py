"""A vocabulary from files of records."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from m5jax.data.corpus import Corpus, ingest_corpus
from m5jax.data.records import RecordKind
from m5jax.data.vocabulary import Vocabulary, train_vocabulary
from m5jax.data.vocabulary_extension import extend_vocabulary, fertility
from m5jax.data.vocabulary_sample import sample_texts
from m5jax.errors import UserError


def train_vocabulary_from_files(
    sources: Sequence[str],
    *,
    kind: RecordKind,
    size: int,
    output: Path,
    alpha: float,
    max_sentences: int,
    seed: int = 0,
    column_mapping: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> Vocabulary:
    """Trains a vocabulary on the records of `sources`, balanced over their languages, and writes it to `output`.

    Raises:
      UserError: `output` exists, an input cannot be read, or the texts do not support `size`.
    """
    _check_output(output)
    corpus = _ingested(sources, kind, column_mapping, defaults)
    return train_vocabulary(
        {language: corpus.texts(language, "train") for language in corpus.languages},
        {language: corpus.count(language, "train") for language in corpus.languages},
        size=size,
        output=output,
        alpha=alpha,
        max_sentences=max_sentences,
        seed=seed,
    )


@dataclasses.dataclass(frozen=True)
class Extended:
    """A vocabulary that was extended, and the tokens a word of each language's texts before and after."""

    vocabulary: Vocabulary
    fertility: Mapping[str, tuple[float, float]]


def extend_vocabulary_from_files(
    old: Path,
    sources: Sequence[str],
    *,
    kind: RecordKind,
    size: int,
    output: Path,
    alpha: float,
    max_sentences: int,
    seed: int = 0,
    column_mapping: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> Extended:
    """Extends the vocabulary at `old` to `size` ids for the records of `sources`, and writes it to `output`.

    Raises:
      UserError: as `train_vocabulary_from_files` and `extend_vocabulary`, or there is no vocabulary at `old`.
    """
    _check_output(output)
    vocabulary = Vocabulary.load(old)
    corpus = _ingested(sources, kind, column_mapping, defaults)
    sample = sample_texts(
        {language: corpus.texts(language, "train") for language in corpus.languages},
        {language: corpus.count(language, "train") for language in corpus.languages},
        alpha=alpha,
        max_sentences=max_sentences,
        seed=seed,
    )
    extended = extend_vocabulary(vocabulary, list(itertools.chain.from_iterable(sample.values())), size)
    extended.save(output)
    tokens = {language: (fertility(vocabulary, own), fertility(extended, own)) for language, own in sample.items()}
    return Extended(extended, tokens)


def _check_output(output: Path) -> None:
    if output.exists():
        raise UserError(f"{output} exists; remove it or choose another --output")


def _ingested(
    sources: Sequence[str],
    kind: RecordKind,
    column_mapping: Mapping[str, str] | None,
    defaults: Mapping[str, str] | None,
) -> Corpus:
    return ingest_corpus(
        "vocabulary", {"train": list(sources)}, kind, column_mapping, defaults, validation_fraction=0.0
    )
