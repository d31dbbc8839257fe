"""Labelled rows: what is read of them, what is refused, and their canonical lines."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.records import (
    RECORDS,
    BadRecord,
    JudgementRecord,
    PairRecord,
    SessionRecord,
    UtteranceRecord,
    parse_record,
)

MUG = {"title": "Mug", "price": "5.00", "id": "m1", "lang": "en"}
PAIR = {"language": "en", "left": MUG, "right": {"title": "Cup", "attributes": {"color": "red"}}, "label": 1}


def test_other_columns_of_a_product_without_attributes_are_its_attributes() -> None:
    record = parse_record(PAIR, "pair")
    assert isinstance(record, PairRecord)
    assert (record.left.title, record.left.id, record.left.attributes) == ("Mug", "m1", {"price": "5.00"})
    assert record.right.attributes == {"color": "red"}


def test_a_product_whose_attributes_are_empty_has_none() -> None:
    record = parse_record({**PAIR, "left": {**MUG, "attributes": {"brand": None}}}, "pair")
    assert isinstance(record, PairRecord)
    assert record.left.attributes == {}


def test_fields_of_the_products_within_have_columns_too() -> None:
    row = {"language": "en", "left": {"name": "Mug"}, "right": {"name": "Cup"}, "label": "0"}
    record = parse_record(row, "pair", {"title": "name"})
    assert isinstance(record, PairRecord)
    assert (record.left.title, record.right.title, record.left.attributes) == ("Mug", "Cup", {})


@pytest.mark.parametrize(
    ("label", "read"), [(0, "different"), (1.0, "duplicate"), (True, "duplicate"), ("No", "different")]
)
def test_labels_of_pairs(label: Any, read: str) -> None:
    record = parse_record({**PAIR, "label": label}, "pair")
    assert isinstance(record, PairRecord)
    assert record.label == read


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        ("pair", {**PAIR, "label": 2}, "label '2' is none of 0, false, no, different, 1"),
        ("pair", {**PAIR, "left": "Mug"}, r"left is of type str, a product \(a mapping\) is needed"),
        ("pair", {**PAIR, "left": {"id": 3}}, "left has no title, description or attribute"),
        ("judgement", {"language": "en", "query": "mug", "product": MUG}, "label is missing or empty"),
        ("judgement", {"language": "en", "query": " ", "product": MUG, "label": "E"}, "query is missing or empty"),
        ("session", {"language": "en", "queries": ["mug"]}, "queries has 1 item, two or more are needed"),
        ("session", {"language": "en", "queries": "mug"}, "queries is of type str, a list of strings is needed"),
        ("utterance", {"language": "en", "tokens": ["a"], "tags": [], "intent": "x"}, "there are 1 tokens and 0 tags"),
        (
            "utterance",
            {"language": "en", "tokens": ["a"], "tags": ["color"], "intent": "x"},
            "tag 'color' is not O, B-SLOT or I-SLOT",
        ),
    ],
)
def test_bad_rows_say_what_is_wrong(kind: Any, row: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRecord, match=message):
        parse_record(row, kind)


texts = st.text(min_size=1).filter(lambda text: bool(text.strip()) and text.isprintable())


@given(texts, texts, st.lists(texts, min_size=2, max_size=4))
def test_canonical_lines_read_back(query: str, title: str, words: list[str]) -> None:
    product = parse_record({"language": "ar", "query": query, "product": {"title": title}, "label": 3}, "judgement")
    session = parse_record({"language": "de", "queries": words}, "session")
    tags = ["B-x", *["I-x"] * (len(words) - 1)]
    utterance = parse_record({"language": "en", "tokens": words, "tags": tags, "intent": query}, "utterance")
    pair = parse_record({**PAIR, "left": {"title": title, "description": query}}, "pair")
    expected = (JudgementRecord, SessionRecord, UtteranceRecord, PairRecord)
    for kind, record, of in zip(
        ("judgement", "session", "utterance", "pair"), (product, session, utterance, pair), expected, strict=True
    ):
        assert isinstance(record, of)
        assert RECORDS[kind].from_json(record.to_json()) == record
