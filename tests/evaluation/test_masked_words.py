"""Whole words: those between spaces, the same whatever the vocabulary."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.vocabulary import FIRST_TEXT_ID, MASK_ID, Vocabulary
from m5jax.evaluation.cloze import original_text
from m5jax.evaluation.masked_words import SHARE, WordHiding
from tests.evaluation.small_vocabulary import TEXTS, small_vocabulary, tokens_of

WORDS = sorted({word for text in TEXTS.values() for word in text.split() if "<" not in word})
# Letters that no piece holds are bytes, which are put together again within a word.
WRITTEN = st.sampled_from([*WORDS, "zoë", "赤い", "5"])
FIELDS = st.sampled_from(["<title>", "<value>", "<bullet>", "<attribute>"])


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory: pytest.TempPathFactory) -> list[Vocabulary]:
    folder: Path = tmp_path_factory.mktemp("vocabularies")
    return [small_vocabulary(folder, size) for size in (450, 474)]


@st.composite
def fields(draw: st.DrawFn) -> list[tuple[str, list[str]]]:
    return draw(st.lists(st.tuples(FIELDS, st.lists(WRITTEN, min_size=1, max_size=6)), min_size=1, max_size=6))


def serialized(given: list[tuple[str, list[str]]]) -> str:
    return "".join(f"{token} {' '.join(words)}" for token, words in given)


@given(fields())
def test_words_are_those_between_spaces(vocabularies: list[Vocabulary], given: list[tuple[str, list[str]]]) -> None:
    expected = [word for _, words in given for word in words]
    for vocabulary in vocabularies:
        text = tokens_of(vocabulary, serialized(given))
        words, present = WordHiding(vocabulary).words(text)
        assert [vocabulary.decode(text[words == word].tolist()).strip() for word in present] == expected


@given(fields())
def test_the_same_words_are_hidden_whatever_the_vocabulary(
    vocabularies: list[Vocabulary], given: list[tuple[str, list[str]]]
) -> None:
    found = []
    for vocabulary in vocabularies:
        cloze = WordHiding(vocabulary, share=0.5)(tokens_of(vocabulary, serialized(given)))
        if cloze is None:
            found.append((None, []))
            continue
        text = original_text(cloze.example)
        hidden = [(blank.place, vocabulary.decode(text[blank.positions].tolist()).strip()) for blank in cloze.blanks]
        found.append((cloze.unit, hidden))
    assert found[0] == found[1]
    written = [word for _, words in given for word in words]
    assert all(written[place] == word for place, word in found[0][1])


def test_all_pieces_of_the_hidden_words_and_nothing_else_are_masked(vocabularies: list[Vocabulary]) -> None:
    text = tokens_of(vocabularies[0], TEXTS["de"])
    cloze = WordHiding(vocabularies[0], share=0.5)(text)
    assert cloze is not None
    assert max(len(blank.positions) for blank in cloze.blanks) > 3
    hidden = np.sort(np.concatenate([blank.positions for blank in cloze.blanks]))
    assert np.flatnonzero(cloze.example.inputs == MASK_ID).tolist() == hidden.tolist()
    assert np.flatnonzero(cloze.example.targets).tolist() == hidden.tolist()
    assert (text[hidden] >= FIRST_TEXT_ID).all()


def test_the_share_of_hidden_words_is_right_in_expectation(vocabularies: list[Vocabulary]) -> None:
    hide = WordHiding(vocabularies[0])
    numbers = range(400)
    clozes = [hide(tokens_of(vocabularies[0], f"<title> kettle filter {number} with lid and")) for number in numbers]
    hidden = sum(len(cloze.blanks) for cloze in clozes if cloze)
    assert hidden / (6 * len(numbers)) == pytest.approx(SHARE, abs=4 * np.sqrt(0.25 / (6 * len(numbers))))


def test_what_is_left_of_words_that_were_cut_is_never_hidden(vocabularies: list[Vocabulary]) -> None:
    vocabulary = vocabularies[0]
    text = tokens_of(vocabulary, "stainless kettle with removable", ended=False)
    starts = vocabulary.word_starts()
    assert not starts[text[1]]
    words, present = WordHiding(vocabulary).words(text[1:])
    assert [vocabulary.decode(text[1:][words == word].tolist()).strip() for word in present] == ["kettle", "with"]
    assert WordHiding(vocabulary)(tokens_of(vocabulary, "<title>")) is None
