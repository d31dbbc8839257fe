"""Folders in the layouts of the Hugging Face `datasets` library."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m5jax.data.corpus import ingest_corpus
from m5jax.data.dataset_folder import find_splits
from m5jax.errors import UserError

# Files, and the split of each that has one. The expected splits are those that `datasets.load_dataset` documents.
LAYOUTS: dict[str, dict[str, str]] = {
    "shards": {
        "data/train-00000-of-00002.parquet": "train",
        "data/train-00001-of-00002-6e587552aa3c8ac8.parquet": "train",
        "data/dev-00000-of-00001.parquet": "validation",
        "data/unsupervised-00000-of-00001.parquet": "unsupervised",
        "README.md": "",
        ".cache/train.json": "",
        "dataset_infos.json": "",
    },
    "folders": {
        "train/0.jsonl": "train",
        "train/more/1.jsonl.gz": "train",
        "dev/0.jsonl": "validation",
        "eval_2/x.json": "test",
        "other/0.jsonl": "",
    },
    "configuration": {"train-00000.parquet": "train", "validation-00000.parquet": "validation"},
    "c4": {
        "c4-train.00000-of-01024.json.gz": "train",
        "c4-train.00001-of-01024.json.gz": "train",
        "c4-validation.00000-of-00008.json.gz": "validation",
    },
    "names": {"en-valid.csv": "validation", "training.csv": "train", "my_test_file.tsv.zst": "test"},
    "no names": {"offers.parquet": "train", "trainers/b.jsonl": "train", "latest.csv": "train", "notes.txt": ""},
    "set off by digits": {"train2.jsonl": "train", "1dev1.jsonl": "validation"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_splits_of_a_layout(tmp_path: Path, layout: str) -> None:
    for file in LAYOUTS[layout]:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    found = find_splits(tmp_path)
    expected: dict[str, list[str]] = {}
    for file in sorted(LAYOUTS[layout], key=Path):
        if split := LAYOUTS[layout][file]:
            expected.setdefault(split, []).append(str(tmp_path / file))
    assert found == expected
    assert next(iter(found)) == "train"


def test_a_folder_becomes_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows = [{"text": f"text {k}", "n": k} for k in range(30)]
    pq.write_table(pa.Table.from_pylist(rows[:20]), tmp_path / "data" / "train-00000-of-00002.parquet")
    pq.write_table(pa.Table.from_pylist(rows[20:25]), tmp_path / "data" / "train-00001-of-00002.parquet")
    pq.write_table(pa.Table.from_pylist(rows[25:]), tmp_path / "data" / "validation-00000-of-00001.parquet")
    corpus = ingest_corpus(
        "folder", find_splits(tmp_path), kind="text", defaults={"lang": "en"}, cache_dir=tmp_path / "cache"
    )
    assert (corpus.count("en", "train"), corpus.count("en", "validation")) == (25, 5)
    with gzip.open(tmp_path / "c4-train.json.gz", "wt") as file:
        file.write(json.dumps({"text": "a", "url": "b"}) + "\n")
    assert ingest_corpus(
        "lines", {"train": str(tmp_path / "c4-train.json.gz")}, kind="text", defaults={"lang": "en"}, cache_dir=tmp_path
    ).languages == ("en",)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    (tmp_path / "offers").mkdir()
    with pytest.raises(UserError, match="unknown folder of .* 'ofers'; did you mean offers"):
        find_splits(tmp_path / "ofers")
    with pytest.raises(UserError, match="holds no file of records; allowed: .jsonl"):
        find_splits(tmp_path / "offers")
    (tmp_path / "offers" / "train-test.jsonl").write_text("")
    with pytest.raises(UserError, match="train-test.jsonl is of two splits by its name: train and test"):
        find_splits(tmp_path / "offers")


def test_files_of_records_that_fit_no_split_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("train/0.jsonl", "other/0.jsonl", "other/README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert list(find_splits(tmp_path)) == ["train"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: 1 files of no split are not read, other/0.jsonl first"
    ]
