"""The embedded catalog as training reads it: its corpus and its vocabulary."""

import functools
import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m5jax.data.corpus import SPLIT_KEY, Corpus, ingest_corpus
from m5jax.data.embedded_catalog.writer import embedded_catalog_directory
from m5jax.data.join import Join
from m5jax.data.records import RecordKind
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


@functools.cache
def embedded_catalog_labels(kind: RecordKind) -> Corpus:
    """Returns labelled rows of the embedded catalog; a tenth of what they share is for validation.

    Args:
        kind: "pair" (duplicates, and near-duplicates as different products), "judgement" (graded results of queries),
            "session" or "utterance".
    """
    directory = embedded_catalog_directory()
    name, files, settings = _LABELLED[kind]
    products = str(directory / "products.jsonl")
    joins = tuple(Join(field, (column,), products, ("id",)) for field, column in settings.get("joins", {}).items())
    return ingest_corpus(
        f"embedded_catalog_{name}",
        {"train": [directory / f"{file}.jsonl" for file in files]},
        kind=kind,
        column_mapping=settings.get("columns", {}),
        validation_fraction=0.1,
        joins=joins,
        rewrite=_swap_half if kind == "pair" else None,
    )


def _swap_half(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Duplicates are written with the first locale on the left, which would leave the last one none."""
    if zlib.crc32(row["left"]["id"].encode()) % 2:
        return {**row, "left": row["right"], "right": row["left"]}
    return row


@functools.cache
def embedded_catalog_clicks() -> Corpus:
    """Returns the results of queries that were shown, with whether they were clicked; split by query."""
    products = str(embedded_catalog_directory() / "products.jsonl")
    return ingest_corpus(
        "embedded_catalog_clicks",
        {"train": embedded_catalog_directory() / "clicks.jsonl"},
        kind="judgement",
        column_mapping={"label": "clicked", SPLIT_KEY: "query"},
        validation_fraction=0.1,
        joins=(Join("product", ("product_id",), products, ("id",)),),
    )


_LABELLED: Mapping[str, tuple[str, tuple[str, ...], Mapping[str, Any]]] = {
    "pair": (
        "pairs",
        ("duplicates", "near_duplicates"),
        # The families of both sides are the same, or the same but for the variant.
        {
            "joins": {"left": "left", "right": "right"},
            "columns": {"language": "left/language", SPLIT_KEY: "left/family"},
        },
    ),
    "judgement": ("queries", ("queries",), {"joins": {"product": "product_id"}, "columns": {"label": "grade"}}),
    "session": ("sessions", ("sessions",), {}),
    "utterance": ("utterances", ("utterances",), {}),
}


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
