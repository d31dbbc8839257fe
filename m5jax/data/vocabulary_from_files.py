"""A vocabulary from files of records."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from m5jax.data.corpus import ingest_corpus
from m5jax.data.records import RecordKind
from m5jax.data.vocabulary import Vocabulary, train_vocabulary
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
    if output.exists():
        raise UserError(f"{output} exists; remove it or choose another --output")
    corpus = ingest_corpus(
        "vocabulary", {"train": list(sources)}, kind, column_mapping, defaults, validation_fraction=0.0
    )
    return train_vocabulary(
        {language: corpus.texts(language, "train") for language in corpus.languages},
        {language: corpus.count(language, "train") for language in corpus.languages},
        size=size,
        output=output,
        alpha=alpha,
        max_sentences=max_sentences,
        seed=seed,
    )
