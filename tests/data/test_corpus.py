"""One pass from any input to canonical shards, and each way in which it can fail."""

import errno
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from m5jax.data.corpus import Corpus, ingest_corpus
from m5jax.data.records import ProductRecord
from m5jax.data.shard_writer import ShardWriter
from m5jax.errors import UserError


def product(number: int, language: str = "en", **more: Any) -> dict[str, Any]:
    return {"id": f"p{number}", "language": language, "title": f"Mug {number}", **more}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def records(corpus: Corpus, language: str, split: str) -> list[ProductRecord]:
    lines = [line for file in corpus.files(language, split) for line in file.read_text(encoding="utf-8").splitlines()]
    return [ProductRecord.from_json(line) for line in lines]


def test_records_are_split_by_language_and_dealt_evenly(tmp_path: Path) -> None:
    rows = [product(number, language) for number in range(10) for language in ("en", "de")]
    train, valid = write(tmp_path / "a.jsonl", rows), write(tmp_path / "b.jsonl", [product(99, "de")])
    corpus = ingest_corpus("shop", {"train": train, "validation": valid}, cache_dir=tmp_path / "cache")
    assert corpus.languages == ("de", "en")
    assert [corpus.count("de", "train"), corpus.count("de", "validation"), corpus.count("en", "validation")] == [
        10,
        1,
        0,
    ]
    assert {record.id for record in records(corpus, "en", "train")} == {f"p{number}" for number in range(10)}
    files = corpus.files("en", "train")
    assert [file.name for file in files][:2] == ["train-00000-of-00008.jsonl", "train-00001-of-00008.jsonl"]
    assert [len(file.read_text().splitlines()) for file in files] == [2, 2, 1, 1, 1, 1, 1, 1]
    assert corpus.utf8_bytes("en", "train") == sum(file.stat().st_size for file in files)


def test_the_first_records_of_a_sorted_input_are_a_fair_sample(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [product(number) for number in range(8_000)])
    corpus = ingest_corpus("shop", {"train": source}, cache_dir=tmp_path / "cache", validation_fraction=0.0)
    first = [int(record.id[1:]) for record in itertools.islice(corpus.records("en", "train"), 400)]
    # Their mean has a standard deviation of 115; that of the first 3,200 records is 1,600.
    assert abs(sum(first) / len(first) - 4_000) < 4 * 115


def test_the_second_call_reads_the_counts_only_and_a_changed_input_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", [product(1), product(2)])
    first = ingest_corpus("shop", {"train": path}, cache_dir=tmp_path / "cache")
    with monkeypatch.context() as context:
        context.setattr("m5jax.data.corpus.read_records", None)
        assert ingest_corpus("shop", {"train": path}, cache_dir=tmp_path / "cache") == first
    write(path, [product(1), product(2), product(3)])
    assert ingest_corpus("shop", {"train": path}, cache_dir=tmp_path / "cache").directory != first.directory


def test_the_split_is_stable_and_keeps_equal_split_keys_together(tmp_path: Path) -> None:
    rows = [product(number, group=f"g{number // 3}") for number in range(3000)]
    path = write(tmp_path / "a.jsonl", rows)
    arguments: dict[str, Any] = {"column_mapping": {"split_key": "group"}, "validation_fraction": 0.2}
    corpus = ingest_corpus("shop", {"train": path}, cache_dir=tmp_path / "cache", **arguments)
    validation = {record.id for record in records(corpus, "en", "validation")}
    groups = Counter(row["group"] for row in rows if row["id"] in validation)
    assert set(groups.values()) == {3}
    assert 0.15 < len(validation) / 3000 < 0.25
    reverse = ingest_corpus("back", {"train": write(tmp_path / "b.jsonl", rows[::-1])}, cache_dir=tmp_path, **arguments)
    assert {record.id for record in records(reverse, "en", "validation")} == validation


def test_bad_and_repeated_records_are_listed_with_reason(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [product(1), product(1, "de"), product(1), [1], {"id": "x"}, product(2)])
    corpus = ingest_corpus("shop", {"train": path}, cache_dir=tmp_path, reject_limit=0.5, validation_fraction=0.0)
    lines = corpus.rejected_path.read_text().splitlines()
    rejected = sorted((json.loads(line) for line in lines), key=lambda row: row["location"])
    assert [row["location"] for row in rejected] == [f"{path}:{line}" for line in (3, 4, 5)]
    assert rejected[0]["reason"] == f"id 'p1' in en came before, at {path}:1"
    assert (corpus.rejected, corpus.count("en", "train"), corpus.count("de", "train")) == (3, 2, 1)
    with pytest.raises(UserError, match="3 of 6 records"):
        ingest_corpus("shop", {"train": path}, cache_dir=tmp_path, reject_limit=0.4, validation_fraction=0.0)


def test_too_many_bad_records_leave_the_list_and_no_corpus(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [product(1), {"id": "x"}])
    with pytest.raises(UserError, match="1 of the first 2 records are bad"):
        ingest_corpus("shop", {"train": path}, cache_dir=tmp_path / "cache")
    (left,) = (tmp_path / "cache").iterdir()
    assert left.name.endswith(".rejected.jsonl")


def test_texts_are_ingested_with_a_default_language(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"body": f"text {number}"} for number in range(5)])
    arguments: dict[str, Any] = {"column_mapping": {"text": "body"}, "defaults": {"lang": "ar"}}
    corpus = ingest_corpus("t", {"train": path}, "text", cache_dir=tmp_path, validation_fraction=0.0, **arguments)
    assert corpus.count("ar", "train") == 5


def test_a_language_or_split_without_data_names_what_is_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [product(1), product(2, "de")])
    corpus = ingest_corpus("shop", {"train": path}, cache_dir=tmp_path, validation_fraction=0.0)
    with pytest.raises(UserError, match="no data in language 'fr'; allowed: de, en"):
        corpus.files("fr", "train")
    with pytest.raises(UserError, match="no validation records in en; splits there: train"):
        corpus.files("en", "validation")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "offer"}, "unknown record kind 'offer'; allowed: judgement, pair, product"),
        ({"sources": {}}, "no source"),
        ({"name": "a/b"}, "cannot name a corpus"),
        ({"column_mapping": {"titel": "x"}}, "did you mean title"),
        ({"column_mapping": {"title": "nmae"}}, "no column 'nmae'; its columns: id, language, title"),
        ({"kind": "text"}, "no column 'text'"),
        ({"validation_fraction": 1.0}, "below 1"),
        ({"reject_limit": -1.0}, "allowed: 0 to 1"),
    ],
)
def test_a_wrong_argument_is_a_user_error(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "a.jsonl", [product(1)])
    with pytest.raises(UserError, match=message):
        ingest_corpus(**{"name": "shop", "sources": {"train": path}, "cache_dir": tmp_path / "cache", **arguments})


def test_an_unwritable_cache_is_a_user_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [product(1)])
    with pytest.raises(UserError, match="cannot write"):
        ingest_corpus("shop", {"train": path}, cache_dir=path / "cache")


def test_a_full_disk_is_a_user_error_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = write(tmp_path / "a.jsonl", [product(1)])
    monkeypatch.setattr(ShardWriter, "_append", fail)
    with pytest.raises(UserError, match="cannot write .*No space left on device"):
        ingest_corpus("shop", {"train": path}, cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_broken_corpus_file_is_a_user_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [product(1)])
    corpus = ingest_corpus("shop", {"train": path}, cache_dir=tmp_path)
    (corpus.directory / "corpus.json").write_text('{"name": ')
    with pytest.raises(UserError, match="no complete corpus"):
        ingest_corpus("shop", {"train": path}, cache_dir=tmp_path)
