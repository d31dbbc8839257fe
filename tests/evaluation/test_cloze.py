"""Texts with blanks, and names that say what is read."""

from pathlib import Path

import numpy as np
import pytest

from m5jax.data.examples import Example
from m5jax.data.vocabulary import MASK_ID, Vocabulary
from m5jax.evaluation.cloze import hide, original_text, text_key, token_cloze
from tests.evaluation.small_vocabulary import TEXTS, small_vocabulary, tokens_of


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory: pytest.TempPathFactory) -> list[Vocabulary]:
    folder: Path = tmp_path_factory.mktemp("vocabularies")
    return [small_vocabulary(folder, size) for size in (450, 474)]


def test_a_text_has_the_same_key_however_it_is_cut(vocabularies: list[Vocabulary]) -> None:
    keys = set()
    for text in TEXTS.values():
        one, other = (tokens_of(vocabulary, text) for vocabulary in vocabularies)
        assert len(one) > len(other)
        assert text_key(one, vocabularies[0]) == text_key(other, vocabularies[1])
        keys.add(text_key(one, vocabularies[0]))
    assert len(keys) == len(TEXTS)


def test_what_is_hidden_can_be_had_back() -> None:
    text = np.array([105, 500, 501, 502, 1], np.int32)
    example = hide(text, np.array([1, 3]))
    assert example.inputs.tolist() == [105, MASK_ID, 501, MASK_ID, 1]
    assert example.targets.tolist() == [0, 500, 0, 502, 0]
    assert example.bidirectional.all()
    assert original_text(example).tolist() == text.tolist() == [105, 500, 501, 502, 1]


def test_each_predicted_token_is_a_blank(vocabularies: list[Vocabulary]) -> None:
    # Masked, replaced and kept, as BERT does.
    example = Example(*np.array([[105, MASK_ID, 430, 412, 1], [0, 410, 411, 412, 0], [1] * 5], np.int32))
    cloze = token_cloze(example, vocabularies[0])
    assert cloze is not None
    assert [(blank.hidden, blank.place, blank.positions.tolist()) for blank in cloze.blanks] == [
        ("token", 1, [1]),
        ("token", 2, [2]),
        ("token", 3, [3]),
    ]
    others = [
        token_cloze(example, vocabularies[1]),
        token_cloze(example._replace(inputs=example.inputs + 1), vocabularies[0]),
        token_cloze(example._replace(targets=example.targets * 2), vocabularies[0]),
    ]
    units = {other.unit for other in others if other} | {cloze.unit}
    assert len(units) == 4
    assert token_cloze(example._replace(targets=np.zeros(5, np.int32)), vocabularies[0]) is None
