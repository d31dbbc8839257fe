"""Attributes as model input: every style says the same, and random ones are random in the stated way only."""

import collections
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from m5jax.configuration.run_directory import keep_attributes, read_attributes
from m5jax.data.attributes import AttributeFormat, frequent_names, frequent_values
from m5jax.data.corpus import Corpus, ingest_corpus
from m5jax.data.product_pairs import infill_attributes, title_from_attributes
from m5jax.data.records import ProductRecord
from m5jax.data.serialize import join_parts, product_parts, serialize_product
from m5jax.errors import UserError

ATTRIBUTES = {"color": "red", "size": " ", "volume": "3 l", "handle": "yes"}
RECORD = ProductRecord(
    id="1", locale="en", language="en", title="Mug", attributes=ATTRIBUTES, bullets=("for tea",), category="Kitchen"
)


def text(attributes: AttributeFormat, seed: int = 0) -> str:
    return join_parts(product_parts(RECORD, attributes.parts(ATTRIBUTES, np.random.default_rng(seed))))


def test_each_style_writes_the_same_pairs() -> None:
    rest = "<bullet> for tea<category> Kitchen"
    separators = "<attribute> color<value> red<attribute> volume<value> 3 l<attribute> handle<value> yes"
    assert text(AttributeFormat()) == serialize_product(RECORD) == f"<title> Mug{separators}{rest}"
    assert text(AttributeFormat("plain")) == f"<title> Mug color red volume 3 l handle yes{rest}"
    names = AttributeFormat("names", names=("volume", "color"))
    assert text(names) == f"<title> Mug<field_1> red<field_0> 3 l<attribute> handle<value> yes{rest}"


@given(st.integers(0, 2**32 - 1))
def test_shuffling_changes_the_order_only(seed: int) -> None:
    pairs = text(AttributeFormat(shuffled=True), seed).split("<bullet>")[0].split("<attribute>")[1:]
    assert sorted(pairs) == sorted([" color<value> red", " volume<value> 3 l", " handle<value> yes"])


def test_orders_are_alike_and_dropout_is_its_rate() -> None:
    generator = np.random.default_rng(0)
    shuffled = AttributeFormat(shuffled=True)
    orders = collections.Counter(join_parts(shuffled.parts(ATTRIBUTES, generator)) for _ in range(6_000))
    assert len(orders) == 6
    assert stats.chisquare(list(orders.values())).pvalue > 1e-3
    dropped = AttributeFormat(dropout=0.3)
    kept = sum(len(dropped.parts(ATTRIBUTES, generator)) // 2 for _ in range(5_000))
    assert stats.binomtest(kept, 15_000, 0.7).pvalue > 1e-3


def catalog(directory: Path) -> Corpus:
    rows = [
        {"id": str(k), "language": "en", "title": "Mug", "attributes": {"a": "1", **({"b": "2"} if k % 2 else {})}}
        for k in range(20)
    ]
    (directory / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ingest_corpus("c", {"train": directory / "c.jsonl"}, validation_fraction=0.0, cache_dir=directory / "cache")


def test_names_come_from_the_data_with_a_least_count_and_a_cap(tmp_path: Path) -> None:
    corpus = catalog(tmp_path)
    assert frequent_names(corpus, 10, 28) == ("a", "b")
    assert frequent_names(corpus, 11, 28) == ("a",)
    assert frequent_names(corpus, 1, 1) == ("a",)
    assert AttributeFormat("names", min_count=5).for_corpus(corpus).names == ("a", "b")
    assert AttributeFormat().for_corpus(corpus).names == ()


TYPED = [
    {"weight": "1,5 kg", "color": "Rot", "kabellos": "ja", "code": "007"},
    {"weight": "1500 g", "color": "rot", "kabellos": "no"},
    {"weight": "١٫٥ كجم", "color": "ROT ", "kabellos": "نعم"},
]


def test_typed_values_read_alike_and_show_their_type(tmp_path: Path) -> None:
    rows = [
        {
            "id": str(k),
            "language": "de",
            "title": "Topf",
            "attributes": {"color": "Rot" if k % 3 else "rot", "n": str(k)},
        }
        for k in range(30)
    ]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = ingest_corpus("t", {"train": tmp_path / "c.jsonl"}, validation_fraction=0.0, cache_dir=tmp_path / "cache")
    typed = AttributeFormat("typed").for_corpus(corpus)
    assert typed.enumerations == (("color", ("Rot",)),)
    assert (corpus.directory / "attribute_values.json").is_file()
    assert AttributeFormat("typed", min_count=31).for_corpus(corpus).enumerations == ()
    generator = np.random.default_rng(0)
    texts = [
        join_parts(typed.parts(attributes, generator, locale))
        for attributes, locale in zip(TYPED, ("de-de", "en-us", "ar"), strict=True)
    ]
    start = "<attribute> weight<field_25> 1500 g<attribute> color<field_27> Rot<attribute> kabellos<field_26> "
    assert texts == [f"{start}true<attribute> code<value> 007", f"{start}false", f"{start}true"]
    # Kept for embedding, with what was counted.
    keep_attributes(tmp_path, typed)
    assert read_attributes(tmp_path) == typed
    assert read_attributes(tmp_path / "elsewhere") == AttributeFormat()
    (tmp_path / "attributes.json").write_text('{"style": "typed"}')
    with pytest.raises(UserError, match="attributes.json is no format of attributes"):
        read_attributes(tmp_path)


def test_an_attribute_of_many_values_is_no_enumeration(tmp_path: Path) -> None:
    rows = [
        {"id": str(k), "language": "en", "title": "Mug", "attributes": {"many": f"value {k // 2}", "few": "a"}}
        for k in range(2_004)
    ]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = ingest_corpus("m", {"train": tmp_path / "c.jsonl"}, validation_fraction=0.0, cache_dir=tmp_path / "cache")
    assert frequent_values(corpus, 2) == (("few", ("a",)),)


def test_pairs_of_inputs_and_targets() -> None:
    attributes = "<attribute> color<value> red<attribute> volume<value> 3 l<attribute> handle<value> yes"
    assert infill_attributes(RECORD) == ("<title> Mug<bullet> for tea<category> Kitchen", attributes)
    assert title_from_attributes(RECORD) == (f"{attributes}<category> Kitchen", "<title> Mug")
    bare = ProductRecord(id="1", locale="en", language="en", title="Mug")
    assert infill_attributes(bare) is title_from_attributes(bare) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"style": "token"}, "unknown style of attributes 'token'"),
        ({"dropout": 1.0}, "dropout = 1.0"),
        ({"style": "names", "names": tuple(map(str, range(25)))}, "25 attribute names have tokens; there are 24"),
    ],
)
def test_impossible_formats_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        AttributeFormat(**changes)  # type: ignore[arg-type]


def test_texts_have_no_attributes(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "a b", "lang": "en"}\n')
    corpus = ingest_corpus("t", {"train": tmp_path / "t.jsonl"}, kind="text", cache_dir=tmp_path / "cache")
    with pytest.raises(UserError, match="corpus t holds text records, product records are needed"):
        frequent_names(corpus, 1, 5)
