"""Pairs of a catalog without labels."""

import json
from pathlib import Path

import pytest

from m5jax.data.catalog_records import ProductRecord
from m5jax.errors import UserError
from m5jax.finetuning.self_labelled import SelfLabelling, differ, make_pairs, write_pairs

BRANDS, THINGS = ("acme", "globex", "initech"), ("drill", "kettle", "lamp", "chair")
PRODUCTS = [
    ProductRecord(str(number), "en", "en", f"{brand} {thing} {number}{size} W", attributes={"color": "red"})
    for number, (brand, thing, size) in enumerate((b, t, s) for b in BRANDS for t in THINGS for s in (100, 250, 700))
]
NO_NOISE = SelfLabelling(word_dropout=0.0, word_swap=0.0, misspelling=0.0, field_dropout=0.0)
OWN_WORDS = {frozenset(product.title.split()): product.id for product in PRODUCTS}


def test_pairs_that_fit_are_of_one_product_and_the_others_are_not() -> None:
    pairs = list(make_pairs(PRODUCTS, 300, NO_NOISE, seed=0))
    kinds = {kind for kind, _, _ in pairs}
    assert kinds == {"same", "similar", "replaced"}
    for kind, left, right in pairs:
        one, other = (OWN_WORDS.get(frozenset(side["title"].split())) for side in (left, right))
        assert one is not None
        if kind == "same":
            assert left == right
        else:
            assert one != other
        if kind == "replaced":
            assert len(set(left["title"].split()) & set(right["title"].split())) >= 2
    assert 0.2 < sum(kind == "same" for kind, _, _ in pairs) / len(pairs) < 0.4


def test_views_lose_words_and_fields_and_never_the_digits_of_a_word() -> None:
    pairs = [pair for pair in make_pairs(PRODUCTS, 400, SelfLabelling(misspelling=0.9), seed=1) if pair[0] == "same"]
    numbers = {word for product in PRODUCTS for word in product.title.split() if any(map(str.isdigit, word))}
    for _, left, right in pairs:
        for side in (left, right):
            assert {word for word in side["title"].split() if any(map(str.isdigit, word))} <= numbers
    assert any(left["title"] != right["title"] for _, left, right in pairs)
    assert any(not left["attributes"] for _, left, _ in pairs)


@pytest.mark.parametrize(
    ("title", "other", "expected"),
    [
        ("acme drill 500 W", "acme drill 700 W", True),
        ("acme drill 500 W", "acme drill 500 W new", False),
        ("acme drill 500 W", "drill acme", False),  # it may be the same without its number
        ("red lamp", "green chair", True),
        ("red lamp", "red lamp large", False),
    ],
)
def test_products_are_taken_for_different_ones_by_their_numbers(title: str, other: str, expected: bool) -> None:
    assert differ(title, other) is expected
    assert differ(other, title) is expected


def test_the_same_seed_writes_the_same_file_and_nothing_is_written_over(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.jsonl", "two.jsonl", "three.jsonl")]
    counts = [
        write_pairs(PRODUCTS, file, 50, SelfLabelling(), seed) for file, seed in zip(files, (3, 3, 4), strict=True)
    ]
    one, two, three = (file.read_text(encoding="utf-8") for file in files)
    assert one == two != three
    rows = [json.loads(line) for line in one.splitlines()]
    assert len(rows) == counts[0].total()
    assert all(row["label"] == int(row["kind"] == "same") for row in rows)
    with pytest.raises(UserError, match="exists"):
        write_pairs(PRODUCTS, files[0], 50, SelfLabelling())
    with pytest.raises(UserError, match="1 product does not make pairs"):
        write_pairs(PRODUCTS[:1], tmp_path / "four.jsonl", 50, SelfLabelling())


def test_shares_outside_0_to_1_are_refused() -> None:
    with pytest.raises(UserError, match=r"SelfLabelling.word_dropout = 1.0; allowed: 0 up to, not including, 1"):
        SelfLabelling(word_dropout=1.0)
