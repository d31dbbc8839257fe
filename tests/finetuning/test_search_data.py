import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.attributes import SEPARATORS, AttributeFormat
from m5jax.data.serialize import FIELD_TOKENS, join_parts, neutralize
from m5jax.data.vocabulary import SPARE_TOKENS
from m5jax.errors import UserError
from m5jax.finetuning.examples import Columns, Example, read_examples
from m5jax.finetuning.search_data import RightSides, SearchData, gather, plain_text, text_id
from m5jax.finetuning.tasks import PairLabels, TwoTowerTask
from tests.finetuning.search_examples import judged_pairs

LABELS = PairLabels(1.0, 4.0, 3.0)
PAIRS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d"]),
        st.sampled_from(["a", "w", "x", "y", "z"]),
        st.sampled_from([1.0, 2.0, 3.0, 3.5, 4.0]),
        st.sampled_from([0.0, 1.0, 2.5]),
    ),
    min_size=1,
    max_size=25,
)


def examples_of(pairs: list[tuple[str, str, float, float]]) -> list[Example]:
    return [
        Example(f"f:{row}", (left, right), label, weight=weight)
        for row, (left, right, label, weight) in enumerate(pairs)
    ]


@given(st.lists(st.tuples(st.sampled_from([*FIELD_TOKENS, *SPARE_TOKENS]), st.text(max_size=12)), max_size=5))
def test_plain_text_is_what_stands_behind_the_field_tokens(parts: list[tuple[str, str]]) -> None:
    assert plain_text(join_parts(parts)) == " ".join(filter(None, (neutralize(value) for _, value in parts)))


@given(PAIRS, st.lists(st.sampled_from(["x", "more", "most"]), max_size=4))
def test_queries_documents_grades_and_weights_are_those_of_dictionaries(
    pairs: list[tuple[str, str, float, float]], further: list[str]
) -> None:
    grades: dict[str, dict[str, float]] = {}
    weights: dict[str, float] = {}
    for left, right, label, weight in pairs:
        own = grades.setdefault(left, {})
        own[right] = max(own.get(right, 0.0), label - 1)
        weights[left] = max(weights.get(left, 0.0), weight)
    kept = [query for query in grades if max(grades[query].values()) >= 2 and weights[query] > 0]
    if not kept:
        with pytest.raises(UserError, match="has a document of grade 3 or more and a weight above 0"):
            gather(examples_of(pairs), LABELS, further)
        return
    data = gather(examples_of(pairs), LABELS, further)
    assert data.queries == tuple(kept)
    assert data.relevant_from == 2
    assert data.weights.tolist() == [weights[query] for query in kept]
    assert set(data.documents) == {*(pair[1] for pair in pairs), *further}
    assert data.document_ids == sorted(text_id(text) for text in data.documents)
    found = {
        (data.queries[query], data.documents[document]): grade
        for (query, document), grade in zip(data.judged, data.grades, strict=True)
    }
    assert found == {(query, document): grade for query in kept for document, grade in grades[query].items()}
    assert data.judged.tolist() == sorted(data.judged.tolist())
    rights = [*(pair[1] for pair in pairs), *further]
    assert [rights.index(text) for text in data.documents] == data.document_rows.tolist()
    assert [[pair[0] for pair in pairs].index(text) for text in data.queries] == data.query_rows.tolist()
    own_document = [data.documents.index(query) if query in data.documents else -1 for query in kept]
    judged = [query in grades[query] for query in kept]
    assert data.itself.tolist() == [-1 if known else own for own, known in zip(own_document, judged, strict=True)]


def test_what_is_left_out_is_said() -> None:
    pairs = [("a", "x", 4.0, 1.0), ("a", "x", 3.0, 1.0), ("b", "x", 2.0, 1.0), ("c", "x", 4.0, 0.0)]
    assert gather(examples_of(pairs), LABELS).notes == (
        "1 of 3 queries are left out: no document is relevant to them",
        "1 of 3 queries are left out: their weight is 0",
        "1 pairs have several grades, of which the highest counts",
    )
    assert gather(examples_of(pairs[:1]), LABELS).notes == ()


def test_documents_do_not_stand_in_the_order_of_the_rows() -> None:
    examples = judged_pairs(0)
    shuffled = random.Random(1).sample(examples, len(examples))
    assert gather(examples, PairLabels(1.0, 3.0)).documents == gather(shuffled, PairLabels(1.0, 3.0)).documents


def test_several_items_are_no_pair() -> None:
    with pytest.raises(UserError, match="f:3: 3 items; a search needs a query and a document"):
        gather([Example("f:3", ("a", "b", "c"), 1.0)], PairLabels())


def changed(data: SearchData, name: str, place: int) -> SearchData:
    values: Any = getattr(data, name)
    values = values.copy() if isinstance(values, np.ndarray) else list(values)
    values[place] = values[place] + 1 if name in ("grades", "weights") else "other"
    return dataclasses.replace(data, **{name: values})


@pytest.mark.parametrize("name", ["queries", "documents", "grades", "weights"])
def test_other_data_has_another_fingerprint(name: str) -> None:
    data = gather(judged_pairs(0), PairLabels(1.0, 3.0))
    assert data.fingerprint("all") == gather(judged_pairs(0), PairLabels(1.0, 3.0)).fingerprint("all")
    assert data.fingerprint("all") != data.fingerprint("judged")
    assert data.fingerprint("all") != changed(data, name, 1).fingerprint("all")


PRODUCT = {"title": "Red lamp", "attributes": {"power": "40 W"}}
FLAT = {"title": "Red lamp", "power": "40 W", "weight": "2 kg"}
SIDES = {
    "a product": (Columns(), {"left": "lamp", "right": PRODUCT}, {"id": "1", "language": "en", **PRODUCT}),
    "columns": (Columns(), {"left": "lamp", "right": FLAT}, {"id": "1", "language": "en", **FLAT}),
    "a side": (Columns(), {"left": "lamp", "right": PRODUCT}, {"right": PRODUCT, "left": "other", "label": 0}),
    "begun names": (
        Columns(),
        {"left": "lamp", "right": FLAT},
        {f"right_{name}": value for name, value in FLAT.items()},
    ),
    "a mapped side": (
        Columns({"left": "query", "right": "product"}),
        {"query": "lamp", "product": PRODUCT},
        {"product": PRODUCT},
    ),
    "a product beside a mapped side": (
        Columns({"left": "query", "right": "product", "title": "name", "language": "market"}),
        {"query": "lamp", "product": {"name": "Red lamp"}, "market": "en"},
        {"name": "Red lamp", "market": "en"},
    ),
    "a text": (Columns(), {"left": "lamp", "right": "Red  lamp"}, {"right": "Red lamp"}),
}


@pytest.mark.parametrize("style", ["separators", "typed"])
@pytest.mark.parametrize("name", SIDES)
def test_a_document_of_its_own_reads_as_the_right_side_of_a_pair(name: str, style: str, tmp_path: Path) -> None:
    columns, pair, document = SIDES[name]
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pair), encoding="utf-8")
    (tmp_path / "documents.jsonl").write_text(json.dumps(document), encoding="utf-8")
    style_of, rejected = AttributeFormat(style=style), tmp_path / "rejected"
    (one,) = read_examples([str(tmp_path / "pairs.jsonl")], TwoTowerTask(), columns, style_of, rejected)
    inner = Columns({field: column for field, column in columns.names.items() if field == "title"})
    sources = [str(tmp_path / "documents.jsonl")]
    (other,) = read_examples(sources, RightSides(columns), inner, style_of, rejected)
    assert other.texts == one.texts[1:]


def test_documents_of_other_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "documents.jsonl").write_text('{"name": "Red lamp"}', encoding="utf-8")
    reading = RightSides(Columns({"right": "product"}))
    with pytest.raises(UserError, match="no column 'product' or 'title' or 'description' or 'attributes'"):
        read_examples([str(tmp_path / "documents.jsonl")], reading, Columns(), SEPARATORS, tmp_path / "rejected")
