"""Values of products as they are read, in each style of attributes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.attributes import AttributeFormat
from m5jax.data.records import ProductRecord
from m5jax.data.vocabulary import MASK_ID, Vocabulary
from m5jax.evaluation.cloze import original_text
from m5jax.evaluation.masked_values import Values, occurs
from tests.evaluation.small_vocabulary import small_vocabulary, tokens_of

ATTRIBUTES = {"color": "dark red", "size": "5 l", "water resistant": "yes", "empty": " ", "serie": "Fjord 800"}
PRODUCT = ProductRecord(
    "1", "en", "en", "red kettle", "a kettle in Dark Red, 15 litres", ("fjord 800",), ATTRIBUTES, "kettles"
)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder: Path = tmp_path_factory.mktemp("vocabulary")
    return small_vocabulary(folder)


def read(vocabulary: Vocabulary, attributes: AttributeFormat) -> np.ndarray:
    return tokens_of(vocabulary, attributes.text(PRODUCT, np.random.default_rng(0)))


def test_values_are_found_with_the_names_of_their_attributes(vocabulary: Vocabulary) -> None:
    written = {name: value for name, value in ATTRIBUTES.items() if value.strip()}
    separators = read(vocabulary, AttributeFormat())
    found = Values(vocabulary).of(separators)
    assert {value.attribute: value.text for value in found} == written
    assert [value.place for value in found] == [0, 1, 2, 3]
    for value in found:
        assert vocabulary.decode(separators[value.positions].tolist()).strip() == value.text
    names = ("size", "color")
    named = read(vocabulary, AttributeFormat("names", names=names))
    assert {value.attribute: value.text for value in Values(vocabulary, names).of(named)} == written
    assert {value.attribute for value in Values(vocabulary).of(named)} >= {"<field_0>", "<field_1>", "serie"}
    typed = read(vocabulary, AttributeFormat("typed"))
    normal = {"size": "5000 ml", "water resistant": "true"}
    assert {value.attribute: value.text for value in Values(vocabulary).of(typed)} == written | normal
    assert Values(vocabulary).of(read(vocabulary, AttributeFormat("plain"))) == []


def test_a_value_that_was_cut_off_is_none(vocabulary: Vocabulary) -> None:
    text = read(vocabulary, AttributeFormat())
    (first, second, *_) = Values(vocabulary).of(text)
    assert [value.text for value in Values(vocabulary).of(text[: second.positions[-1]])] == [first.text]
    assert Values(vocabulary).of(text[: first.positions[-1] + 1]) == []
    assert Values(vocabulary).of(text[first.positions[1] :])[0].text == second.text


def test_one_value_at_a_time_is_hidden_and_looked_for_in_the_rest(vocabulary: Vocabulary) -> None:
    text = read(vocabulary, AttributeFormat())
    clozes = list(Values(vocabulary).clozes(text))
    assert len({cloze.unit for cloze in clozes}) == 1
    for cloze, value in zip(clozes, Values(vocabulary).of(text), strict=True):
        (blank,) = cloze.blanks
        assert (blank.hidden, blank.attribute, blank.place) == ("value", value.attribute, value.place)
        assert np.flatnonzero(cloze.example.inputs == MASK_ID).tolist() == blank.positions.tolist()
        assert original_text(cloze.example).tolist() == text.tolist()
    elsewhere = {cloze.blanks[0].attribute: cloze.blanks[0].elsewhere for cloze in clozes}
    assert elsewhere == {"color": True, "size": False, "water resistant": False, "serie": True}


@given(st.lists(st.tuples(st.sampled_from(["color", "size"]), st.sampled_from(["red", "5 l", "dark red"])), max_size=9))
def test_the_most_frequent_value_is_that_of_a_count(vocabulary: Vocabulary, pairs: list[tuple[str, str]]) -> None:
    texts = [tokens_of(vocabulary, f"<title> kettle<attribute> {name}<value> {value}") for name, value in pairs]
    found = Values(vocabulary).most_frequent(texts)
    assert found.keys() == {name for name, _ in pairs}
    for name, value in found.items():
        counts = {other: pairs.count((name, other)) for _, other in pairs}
        assert counts[value] == max(counts.values())
        assert value == min(other for other, count in counts.items() if count == counts[value])


@pytest.mark.parametrize(
    ("value", "text", "found"),
    [
        ("Red", "a dark red kettle", True),
        ("red", "covered, shared", False),
        ("red", "covered in red.", True),
        ("5 l", "15 l", False),
        ("5 l", "15 l and 5 L", True),
        ("5", "5l", False),
        ("赤い", "大きな赤いランプ", True),
        ("أحمر", "والأحمر", True),
        ("red", "", False),
        ("red", "red", True),
        ("C++", "for C++ and C#", True),
    ],
)
def test_a_value_occurs_as_words_of_its_own(value: str, text: str, found: bool) -> None:
    assert occurs(value, text) is found
