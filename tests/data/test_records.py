"""Rows of any shape become records, or a BadRecord that says why not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.records import FIELDS, BadRecord, ProductRecord, TextRecord, parse_record

ROW = {"id": "a1", "language": "en", "title": "Mug"}
text = st.text(st.characters(exclude_categories=["Cs"]))
visible = text.filter(str.strip)
products = st.builds(
    ProductRecord,
    id=visible,
    locale=st.sampled_from(["en_US", "de_DE"]),
    language=st.sampled_from(["en", "de", "pt-br"]),
    title=visible,
    description=text,
    bullets=st.lists(visible, max_size=3).map(tuple),
    attributes=st.dictionaries(visible.map(str.strip), visible, max_size=3),
    category=text,
)


@given(products)
def test_a_product_survives_its_canonical_line_and_parsing(record: ProductRecord) -> None:
    line = record.to_json()
    assert "\n" not in line
    assert tuple(json.loads(line)) == FIELDS["product"]
    assert ProductRecord.from_json(line) == record
    assert parse_record(json.loads(line), "product") == record


@given(visible)
def test_a_text_survives_its_canonical_line_and_parsing(value: str) -> None:
    record = TextRecord(value, "ar")
    assert TextRecord.from_json(record.to_json()) == record
    assert parse_record(json.loads(record.to_json()), "text") == record


def test_columns_are_renamed_and_defaults_fill_what_is_empty() -> None:
    row = {"asin": 17, "data": {"name": "Mug"}, "language": "", "category": None}
    mapping = {"id": "asin", "title": "data/name"}
    record = parse_record(row, "product", mapping, {"language": "de", "category": "Kitchen"})
    assert record == ProductRecord(id="17", locale="de", language="de", title="Mug", category="Kitchen")


@pytest.mark.parametrize(
    "attributes",
    [
        {"color": "red", "power": 5, "new": True, "none": None, "nan": float("nan")},
        [{"name": "color", "value": "red"}, {"name": "power", "value": 5}, {"name": "new", "value": True}],
        [("color", "red"), ("power", 5), ("new", True)],
        '{"color": "red", "power": 5, "new": true}',
    ],
)
def test_attributes_of_every_shape_become_the_same_strings_in_order(attributes: object) -> None:
    record = parse_record({**ROW, "attributes": attributes}, "product")
    assert isinstance(record, ProductRecord)
    assert list(record.attributes.items()) == [("color", "red"), ("power", "5"), ("new", "true")]


def test_repeated_attributes_and_lists_are_joined() -> None:
    row = {**ROW, "attributes": [["size", "S"], ["size", "M"], ["ports", [1, 2]]]}
    assert parse_record(row, "product").attributes == {"size": "S, M", "ports": "1, 2"}  # type: ignore[union-attr]


def test_bullets_may_be_lines() -> None:
    assert parse_record({**ROW, "bullets": "one\n\ntwo"}, "product").bullets == ("one", "two")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": None}, "id is missing"),
        ({"id": True}, "id is a boolean"),
        ({"title": "  "}, "title is missing or empty"),
        ({"title": ["Mug"]}, "title is a list"),
        ({"title": "half \ud83d"}, "surrogate"),
        ({"language": ""}, "language is missing"),
        ({"language": "../etc"}, "not a language code"),
        ({"bullets": 3}, "bullets is a number"),
        ({"bullets": [3]}, "a bullet is a number"),
        ({"attributes": "color red"}, "not JSON"),
        ({"attributes": 3}, "attributes is a number"),
        ({"attributes": ["color"]}, "neither"),
        ({"attributes": {"color": {"a": 1}}}, "'color' is an object"),
    ],
)
def test_a_bad_product_says_why(change: dict[str, object], reason: str) -> None:
    with pytest.raises(BadRecord, match=reason):
        parse_record({**ROW, **change}, "product")


def test_an_empty_text_is_bad() -> None:
    with pytest.raises(BadRecord, match="text is missing or empty"):
        parse_record({"text": " \n", "lang": "en"}, "text")
