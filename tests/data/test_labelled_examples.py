"""What a model reads of labelled records, and what it is to answer, in both forms."""

import pytest

from m5jax.data.labelled_examples import (
    Labelled,
    attribute_spans,
    click,
    duplicate,
    intent_and_slots,
    next_query,
    product_type,
    relevance,
    spans_of,
    text_to_text,
)
from m5jax.data.records import JudgementRecord, PairRecord, ProductRecord, SessionRecord, UtteranceRecord
from m5jax.errors import UserError


def product(title: str, **fields: object) -> ProductRecord:
    return ProductRecord(id="1", locale="en", language="en", title=title, **fields)  # type: ignore[arg-type]


def test_the_category_is_not_in_what_is_read() -> None:
    made = product_type(product("Mug", attributes={"color": "red"}, category="Kitchen > Mugs"))
    assert made == Labelled((("category<title> Mug<attribute> color<value> red", ""),), "Kitchen > Mugs")
    assert product_type(product("Mug")) is None


def test_values_are_found_in_the_words_whatever_their_case_and_punctuation() -> None:
    record = product(
        "Red mug, 300 ml", description="A RED one (300 ml).", attributes={"color": "red", "size": "300 ml"}
    )
    made = attribute_spans(record)
    assert made is not None
    assert made.pieces[1:] == (
        ("Red", "B-color"),
        ("mug,", "O"),
        ("300", "B-size"),
        ("ml", "I-size"),
        ("A", "O"),
        ("RED", "B-color"),
        ("one", "O"),
        ("(300", "B-size"),
        ("ml).", "I-size"),
    )
    assert attribute_spans(product("Mug", attributes={"color": "red", "empty": "..."})) is None
    arabic = attribute_spans(product("كوب أحمر، كبير", attributes={"اللون": "أحمر"}))
    assert arabic is not None
    assert [tag for _, tag in arabic.pieces[1:]] == ["O", "B-اللون", "O"]


def test_each_of_several_values_is_found() -> None:
    made = attribute_spans(product("blue and red mug", attributes={"color": "red, blue"}))
    assert made is not None
    assert [tag for _, tag in made.pieces[1:]] == ["B-color", "O", "B-color", "O"]


def test_a_pair_shows_where_the_second_product_begins() -> None:
    titleless = product("", attributes={"color": "red"})
    made = duplicate(PairRecord("en", product("Mug"), titleless, "duplicate"))
    assert made == Labelled((("match<title> Mug", ""), ("<title><attribute> color<value> red", "")), "duplicate")
    assert made.text == "match<title> Mug<title><attribute> color<value> red"


def test_judgements() -> None:
    record = JudgementRecord("en", "red mug", product("Mug"), "exact")
    assert relevance(record) == Labelled((("relevance<query> red mug", ""), ("<title> Mug", "")), "exact")
    labels = ("0", "1", "Click", "no")
    clicks = [click(JudgementRecord("en", "red mug", product("Mug"), label)).label for label in labels]
    assert clicks == ["no click", "click", "click", "no click"]
    with pytest.raises(UserError, match="label 'maybe' of a product that was shown is none of 0, false, no, no click"):
        click(JudgementRecord("en", "red mug", product("Mug"), "maybe"))


def test_the_last_query_is_asked_for() -> None:
    made = next_query(SessionRecord("en", ("mug", "red mug", "kettle")))
    assert made == Labelled((("next<query> mug<query> red mug", ""),), "kettle")


def test_the_written_form_names_spans_and_the_label() -> None:
    record = UtteranceRecord(
        "en", ("find", "red", "coffee", "mugs"), ("O", "B-color", "B-type", "I-type"), "find_product"
    )
    inputs = "intent<query> find red coffee mugs"
    targets = "find_product<attribute> color<value> red<attribute> type<value> coffee mugs"
    assert text_to_text(record, intent_and_slots) == (inputs, targets)
    assert text_to_text(product("Mug"), product_type) is None


def test_spans_in_bio_form() -> None:
    tags = ["I-a", "I-a", "B-a", "O", "I-b", "I-a"]
    assert spans_of(zip("uvwxyz", tags, strict=True)) == [("a", ["u", "v"]), ("a", ["w"]), ("b", ["y"]), ("a", ["z"])]


def test_catalog_text_cannot_spell_tokens() -> None:
    record = UtteranceRecord("en", ("<mask>", "</s>"), ("O", "O"), "x")
    assert all("<m" not in piece and "</" not in piece for piece, _ in intent_and_slots(record).pieces)
