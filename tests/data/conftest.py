"""A small text corpus in two languages with its vocabulary and tasks, made once for all tests of the data pipeline."""

import dataclasses
import json
import os
import random
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

COUNTS = {"en": {"train": 240, "validation": 50}, "de": {"train": 60, "validation": 30}}


@dataclasses.dataclass(frozen=True)
class TinyCorpus:
    texts: dict[str, dict[str, list[str]]]
    vocabulary: Path
    mixture: str = "tiny_mlm"


def _texts(language: str, split: str) -> list[str]:
    generator = random.Random(f"{language}/{split}")
    syllables = {"en": ["ba", "lo", "mi", "ster", "ing"], "de": ["ge", "schu", "ung", "fä", "lich"]}[language]
    words = ["".join(generator.choices(syllables, k=generator.randint(1, 4))) for _ in range(120)]
    # Lengths from a few tokens to several rows; the number makes every text unlike the others.
    return [
        f"{split} {index} " + " ".join(generator.choices(words, k=generator.randint(1, 60)))
        for index in range(COUNTS[language][split])
    ]


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> TinyCorpus:
    from m5jax.data.corpus import Corpus, ingest_corpus
    from m5jax.data.task_builders import add_language_tasks
    from m5jax.data.vocabulary import train_vocabulary

    directory = tmp_path_factory.mktemp("tiny_corpus")
    texts = {language: {split: _texts(language, split) for split in splits} for language, splits in COUNTS.items()}
    for split in ("train", "validation"):
        rows = [{"text": text, "lang": language} for language in texts for text in texts[language][split]]
        (directory / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def corpus() -> Corpus:
        sources = {split: directory / f"{split}.jsonl" for split in ("train", "validation")}
        return ingest_corpus("tiny", sources, kind="text", cache_dir=directory / "cache")

    # French is registered and has no data.
    add_language_tasks("tiny", corpus, languages=("en", "de"))
    add_language_tasks("tiny_french", corpus, languages=("fr",))
    training = {language: texts[language]["train"] for language in texts}
    train_vocabulary(
        training,
        {language: len(lines) for language, lines in training.items()},
        size=600,
        output=directory / "vocabulary.model",
    )
    return TinyCorpus(texts, directory / "vocabulary.model")


@pytest.fixture
def tiny(tiny_corpus: TinyCorpus) -> TinyCorpus:
    """The corpus, with its vocabulary as the current one."""
    from m5jax.data.vocabulary import set_current_vocabulary

    set_current_vocabulary(tiny_corpus.vocabulary)
    return tiny_corpus
