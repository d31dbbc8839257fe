"""Rows completed by rows of other inputs, and rewritten."""

import csv
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from m5jax.data.corpus import ingest_corpus, source_fingerprint
from m5jax.data.join import Join
from m5jax.data.records import PairRecord
from m5jax.errors import UserError


def write_csv(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Path]:
    """Two tables and pairs of their ids, as the Magellan data sets come."""
    return {
        "left": write_csv(tmp_path / "tableA.csv", [{"id": i, "name": f"left {i}", "price": i} for i in range(5)]),
        "right": write_csv(tmp_path / "tableB.csv", [{"id": i, "name": f"right {i}", "price": ""} for i in range(5)]),
        "pairs": write_csv(
            tmp_path / "train.csv", [{"ltable_id": i, "rtable_id": 4 - i, "label": i % 2} for i in range(5)]
        ),
    }


def joins(tables: dict[str, Path]) -> tuple[Join, ...]:
    left = Join("left", ("ltable_id",), tables["left"], ("id",))
    return left, Join("right", ("rtable_id",), tables["right"], ("id",))


def test_sides_are_looked_up_by_their_ids(tables: dict[str, Path], tmp_path: Path) -> None:
    corpus = ingest_corpus(
        "pairs",
        {"train": tables["pairs"]},
        kind="pair",
        column_mapping={"title": "name"},
        defaults={"language": "en"},
        validation_fraction=0.0,
        joins=joins(tables),
        cache_dir=tmp_path / "cache",
    )
    found = [record for record in corpus.records("en", "train") if isinstance(record, PairRecord)]
    assert [(r.left.title, r.right.title, r.label) for r in found] == [
        (f"left {i}", f"right {4 - i}", "duplicate" if i % 2 else "different") for i in range(5)
    ]
    assert found[3].left.attributes == {"price": "3"}


def test_a_key_that_is_not_there_is_a_bad_record(tables: dict[str, Path], tmp_path: Path) -> None:
    write_csv(tables["left"], [{"id": 0, "name": "only", "price": 1}])
    with pytest.raises(
        UserError, match="4 of the first 5 records are bad .* the first: .*train.csv:3: no left is known for 1"
    ):
        ingest_corpus(
            "pairs",
            {"train": tables["pairs"]},
            kind="pair",
            column_mapping={"title": "name"},
            defaults={"language": "en"},
            joins=joins(tables),
            cache_dir=tmp_path / "cache",
        )


def test_missing_keys_are_not_each_other(tables: dict[str, Path], tmp_path: Path) -> None:
    write_csv(tables["left"], [{"id": "", "name": "no id here", "price": 1}])
    write_csv(tables["pairs"], [{"ltable_id": "", "rtable_id": 1, "label": 0}])
    with pytest.raises(UserError, match="ltable_id, which names the left, is missing"):
        ingest_corpus(
            "pairs", {"train": tables["pairs"]}, kind="pair", joins=joins(tables), cache_dir=tmp_path / "cache"
        )


def test_a_row_that_cannot_be_rewritten_is_a_bad_record(tables: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train.csv:2: the row cannot be rewritten: KeyError 'labell'"):
        ingest_corpus(
            "pairs",
            {"train": tables["pairs"]},
            kind="pair",
            rewrite=lambda row: row["labell"],
            cache_dir=tmp_path / "c",
        )


def test_functions_are_told_apart_by_what_they_close_over_and_are_bound_to() -> None:
    def multiply(row: int, by: int) -> int:
        return row * by

    def closing_over(by: int) -> Any:
        return lambda row: multiply(row, by)

    made = [closing_over(1), closing_over(2), functools.partial(multiply, by=1), functools.partial(multiply, by=2)]
    assert len({source_fingerprint(function) for function in made}) == 4
    assert source_fingerprint(closing_over(1)) == source_fingerprint(closing_over(1))


def test_a_changed_table_or_rewriting_is_another_corpus(tables: dict[str, Path], tmp_path: Path) -> None:
    def ingest(**settings: Any) -> Path:
        return ingest_corpus(
            "pairs",
            {"train": tables["pairs"]},
            kind="pair",
            column_mapping={"title": "name"},
            defaults={"language": "en"},
            cache_dir=tmp_path / "cache",
            joins=joins(tables),
            **settings,
        ).directory

    def without_negatives(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return row if row["label"] == "1" else None

    first = ingest()
    assert ingest() == first
    positives = ingest(rewrite=without_negatives)
    assert positives != first
    assert json.loads((positives / "corpus.json").read_text())["counts"]["en"]["train"]["records"] == 2
    write_csv(tables["right"], [{"id": i, "name": "new", "price": ""} for i in range(5)])
    assert ingest() != first


def test_columns_that_are_compared_must_be_as_many_and_there(tables: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Join of left: columns"):
        Join("left", ("a", "b"), tables["left"], ("id",))
    with pytest.raises(UserError, match="tableA.csv has no column 'key'"):
        ingest_corpus(
            "pairs",
            {"train": tables["pairs"]},
            kind="pair",
            joins=(Join("left", ("ltable_id",), tables["left"], ("key",)),),
            cache_dir=tmp_path / "cache",
        )
