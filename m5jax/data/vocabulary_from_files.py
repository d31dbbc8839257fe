"""A vocabulary from files of records."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from m5jax.data.corpus import ingest_corpus
from m5jax.data.records import RecordKind
from m5jax.data.vocabulary import Vocabulary, train_model
from m5jax.data.vocabulary_extension import extend_vocabulary, fertility
from m5jax.data.vocabulary_sample import sample_texts
from m5jax.errors import UserError


def vocabulary_from_files(
    sources: Sequence[str],
    *,
    old: Path | None = None,
    kind: RecordKind,
    size: int,
    output: Path,
    alpha: float,
    max_sentences: int,
    seed: int,
    column_mapping: Mapping[str, str],
    defaults: Mapping[str, str],
) -> tuple[Vocabulary, dict[str, tuple[float, float]]]:
    """Trains a vocabulary of `size` ids on records, or extends the one at `old` for them, and writes it to `output`.

    Returns it, and of an extension the tokens a word of each language's texts before and after.

    Args:
      sources: of records, balanced over their languages, see `sample_texts`.
      old: to extend; None: a vocabulary is trained.

    Raises:
      UserError: `output` exists, an input or `old` cannot be read, or the texts do not support `size`.
    """
    if output.exists():
        raise UserError(f"{output} exists; remove it or choose another --output")
    before = None if old is None else Vocabulary.load(old)
    corpus = ingest_corpus(
        "vocabulary", {"train": list(sources)}, kind, column_mapping, defaults, validation_fraction=0.0
    )
    sample = sample_texts(
        {language: corpus.texts(language, "train") for language in corpus.languages},
        {language: corpus.count(language, "train") for language in corpus.languages},
        alpha=alpha,
        max_sentences=max_sentences,
        seed=seed,
    )
    texts = list(itertools.chain.from_iterable(sample.values()))
    made = Vocabulary(train_model(texts, size)) if before is None else extend_vocabulary(before, texts, size)
    made.save(output)
    if before is None:
        return made, {}
    return made, {language: (fertility(before, own), fertility(made, own)) for language, own in sample.items()}
