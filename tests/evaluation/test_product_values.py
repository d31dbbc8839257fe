"""Values of products by their records: those that are read from tokens, and those of plain text."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.attributes import AttributeFormat
from m5jax.data.records import ProductRecord
from m5jax.data.vocabulary import EOS_ID, MASK_ID, Vocabulary
from m5jax.evaluation.cloze import original_text
from m5jax.evaluation.masked_values import Values
from m5jax.evaluation.product_values import ProductValues
from tests.evaluation.small_vocabulary import small_vocabulary, tokens_of

NAMES = ("size", "color")
FORMATS = [AttributeFormat(), AttributeFormat("plain"), AttributeFormat("names", names=NAMES), AttributeFormat("typed")]
TEXTS = st.text(alphabet="abcé 15<\u0301\u00a0غ,.#", min_size=1, max_size=8)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder: Path = tmp_path_factory.mktemp("vocabulary")
    return small_vocabulary(folder)


def product(attributes: dict[str, str], title: str = "red kettle") -> ProductRecord:
    return ProductRecord("1", "en", "en", title, "in Dark Red, 15 litres", ("fjord 800",), attributes, "kettles")


@given(st.dictionaries(TEXTS, TEXTS, max_size=4), TEXTS)
@pytest.mark.parametrize("attributes", FORMATS, ids=lambda own: own.style)
def test_values_are_those_of_the_text(
    vocabulary: Vocabulary, attributes: AttributeFormat, pairs: dict[str, str], title: str
) -> None:
    record = product({**pairs, "color": "dark red", "size": "5 l"}, title)
    written = attributes.text(record, np.random.default_rng(0))
    text, values = ProductValues(vocabulary, attributes, 1000).read(record)
    assert text.tolist() == tokens_of(vocabulary, written).tolist()
    there = [value for value in record.attributes.values() if value.strip()]
    assert len(values) == len(there)
    for value in values:
        # Pieces are of normalized text, as the whole text's are.
        pieces = vocabulary.decode(text[value.positions].tolist())
        (expected,) = [vocabulary.decode(vocabulary.encode([f"<value> {value.text}"])[0])]
        if attributes.style != "typed":
            assert pieces.strip() == expected.replace("<value>", "").strip()


def test_values_with_tokens_of_their_own_are_those_that_tokens_say(vocabulary: Vocabulary) -> None:
    record = product({"color": "dark red", "size": "5 l", "empty": " ", "serie": "Fjord 800"})
    for attributes in (own for own in FORMATS if own.style != "plain"):
        text, values = ProductValues(vocabulary, attributes, 1000).read(record)
        scanned = Values(vocabulary, attributes.names).of(text)
        assert [(own.attribute, own.place) for own in values] == [(own.attribute, own.place) for own in scanned]
        assert [own.positions.tolist() for own in values] == [own.positions.tolist() for own in scanned]


def test_units_and_places_are_the_same_in_every_format(vocabulary: Vocabulary) -> None:
    record = product({"color": "dark red", "empty": " ", "serie": "Fjord 800"})
    asked = []
    for attributes in FORMATS:
        clozes = list(ProductValues(vocabulary, attributes, 1000).clozes(record))
        asked.append([(own.unit, own.blanks[0].place, own.blanks[0].elsewhere) for own in clozes])
        for own in clozes:
            hidden = np.flatnonzero(own.example.inputs == MASK_ID)
            assert hidden.tolist() == own.blanks[0].positions.tolist()
            assert original_text(own.example)[-1] == EOS_ID
    assert asked == [asked[0]] * len(FORMATS)
    assert [elsewhere for _, _, elsewhere in asked[0]] == [True, True]
    assert asked[0][0][0] != next(ProductValues(vocabulary, FORMATS[0], 99).clozes(product({"color": "red"}))).unit


def test_what_is_cut_off_is_not_asked_for(vocabulary: Vocabulary) -> None:
    record = product({"color": "dark red", "size": "5 l"})
    _, (first, second) = ProductValues(vocabulary, FORMATS[1], 1000).read(record)
    end = int(second.positions[-1])
    text, (only,) = ProductValues(vocabulary, FORMATS[1], end).read(record)
    assert (len(text), only.text) == (end, first.text)
    assert len(ProductValues(vocabulary, FORMATS[1], end + 1).read(record)[1]) == 2
