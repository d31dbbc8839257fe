"""The embedded catalog as training reads it: its corpus and its vocabulary."""

import functools
import hashlib
from pathlib import Path

from m5jax.data.corpus import SPLIT_KEY, Corpus, ingest_corpus
from m5jax.data.embedded_catalog.writer import embedded_catalog_directory
from m5jax.data.vocabulary import RESERVED_PIECES, train_vocabulary

VOCABULARY_SIZE = 2560


@functools.cache
def embedded_catalog_corpus() -> Corpus:
    """Returns the embedded catalog; a tenth of its product families are for validation."""
    return ingest_corpus(
        "embedded_catalog",
        {"train": embedded_catalog_directory() / "products.jsonl"},
        # Variants of a product differ in one attribute: apart, the validation split would hold training texts.
        column_mapping={SPLIT_KEY: "family"},
        validation_fraction=0.1,
    )


def embedded_catalog_vocabulary() -> Path:
    """Returns the vocabulary of the embedded catalog: for runs on it that name none. Trained by the first call.

    Raises:
        UserError: the cache directory cannot be written.
    """
    corpus = embedded_catalog_corpus()
    texts = {language: list(corpus.texts(language, "train")) for language in corpus.languages}
    # Of the texts and not the records, so that a change of the serialized form too is followed by a new vocabulary.
    fingerprint = hashlib.blake2b(repr((RESERVED_PIECES, texts)).encode("utf-8"), digest_size=6).hexdigest()
    path = corpus.directory / f"vocabulary-{VOCABULARY_SIZE}-{fingerprint}.model"
    if not path.is_file():
        counts = {language: len(lines) for language, lines in texts.items()}
        train_vocabulary(texts, counts, size=VOCABULARY_SIZE, output=path)
    return path
