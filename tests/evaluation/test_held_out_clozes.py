"""What is hidden of packed rows."""

from pathlib import Path

import numpy as np
import pytest

from m5jax.data.examples import Example
from m5jax.data.mask_tokens import mask_tokens
from m5jax.data.masking_policy import BERT_MASKING
from m5jax.data.packing import pack_window
from m5jax.data.vocabulary import Vocabulary
from m5jax.evaluation.cloze import original_text, text_key, token_cloze
from m5jax.evaluation.held_out_clozes import held_out_clozes, row_texts
from tests.evaluation.small_vocabulary import TEXTS, small_vocabulary, tokens_of


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder: Path = tmp_path_factory.mktemp("vocabulary")
    return small_vocabulary(folder)


def masked(vocabulary: Vocabulary, texts: list[np.ndarray]) -> list[Example]:
    generator = np.random.default_rng(0)
    found = [mask_tokens(text, BERT_MASKING, vocabulary.word_starts(), generator) for text in texts]
    return [Example(inputs, targets, np.ones_like(inputs)) for inputs, targets in found]


def rows_of(examples: list[Example]) -> dict[str, np.ndarray]:
    flat = [np.concatenate(arrays) for arrays in zip(*examples, strict=True)]
    splits = np.cumsum([0, *(len(example.inputs) for example in examples)])
    return pack_window(flat[0], flat[1], splits, length=200, budget=100)


def test_tokens_words_and_values_of_each_text_once(vocabulary: Vocabulary) -> None:
    texts = [tokens_of(vocabulary, text) for text in TEXTS.values()]
    examples = masked(vocabulary, texts)
    rows = rows_of(examples)
    assert len(rows["inputs"]) < len(texts)
    found = held_out_clozes([rows, rows_of(examples[:1])], vocabulary)
    by_kind: dict[str, list[str]] = {}
    for cloze in found:
        by_kind.setdefault(cloze.blanks[0].hidden, []).append(cloze.unit)
    keys = [text_key(text, vocabulary) for text in texts]
    tokens = [cloze.unit for example in examples if (cloze := token_cloze(example, vocabulary))]
    assert list(by_kind) == ["token", "word", "value"]
    assert sorted(by_kind["token"]) == sorted(tokens)
    assert len(set(by_kind["word"])) == len(by_kind["word"])
    assert set(by_kind["word"]) <= set(keys)
    assert sorted(by_kind["value"]) == sorted([keys[0]] * 2 + [keys[1]] * 2 + [keys[2]])
    for cloze in found:
        assert any(np.array_equal(original_text(cloze.example), text) for text in texts)


def test_texts_are_had_back_from_rows(vocabulary: Vocabulary) -> None:
    texts = [tokens_of(vocabulary, text) for text in TEXTS.values()]
    found = list(row_texts([rows_of(masked(vocabulary, texts))]))
    assert sorted(text.tolist() for text in found) == sorted(text.tolist() for text in texts)
