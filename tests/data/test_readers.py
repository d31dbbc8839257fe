"""Every format gives the same rows; what is wrong with a row is reported, what is wrong with a file stops."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from m5jax.data.readers import _plain, read_rows
from m5jax.data.records import BadRecord, parse_record
from m5jax.errors import UserError

ROWS = [{"id": "1", "title": 'A "mug",\nlarge'}, {"id": "2", "title": "Töpfe قدر"}, {"id": "3", "title": "x"}]


def json_lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def separated(rows: list[dict[str, str]], dialect: str) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["id", "title"], dialect=dialect)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def read(source: Any, **arguments: Any) -> tuple[list[tuple[str, Any]], list[tuple[str, str]]]:
    bad: list[tuple[str, str]] = []
    rows = list(read_rows(source, on_bad=lambda location, reason: bad.append((location, reason)), **arguments))
    return rows, bad


CONTENTS = {".jsonl": json_lines(ROWS), ".json": json_lines(ROWS)}
CONTENTS |= {".csv": separated(ROWS, "excel"), ".tsv": separated(ROWS, "excel-tab")}
COMPRESS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress, ".zstd": zstandard.compress}


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", CONTENTS)
def test_every_text_format_gives_the_rows(tmp_path: Path, suffix: str, compression: str) -> None:
    path = tmp_path / f"a{suffix}{compression}"
    path.write_bytes(COMPRESS[compression](CONTENTS[suffix]))
    rows, bad = read(path)
    assert [row for _, row in rows] == ROWS
    assert rows[0][0] == f"{path}:{2 if suffix in ('.csv', '.tsv') else 1}"
    assert not bad


def test_parquet_gives_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    assert read(path)[0] == [(f"{path}:row {number}", row) for number, row in enumerate(ROWS, start=1)]


def test_lists_and_globs_are_read_in_a_stable_order_and_frames_may_follow_one_another(tmp_path: Path) -> None:
    for index, row in enumerate(ROWS):
        data = json_lines([row])
        (tmp_path / f"b{index}.jsonl.zst").write_bytes(zstandard.compress(data[:5]) + zstandard.compress(data[5:]))
    rows, _ = read([str(tmp_path / "b[12].*"), tmp_path / "b0.jsonl.zst"])
    assert [row["id"] for _, row in rows] == ["2", "3", "1"]


def test_bad_lines_are_reported_with_their_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"id": 1}\n{"id": "\xff"}\n[1]\n\n{"id": \n{"id": NaN}\n' + b"[" * 9999 + b'\n{"id": 2}\n'
    )
    rows, bad = read(path)
    assert [row["id"] for _, row in rows] == [1, 2]
    assert [location for location, _ in bad] == [f"{path}:{line}" for line in (2, 3, 5, 6, 7)]
    for (_, reason), expected in zip(bad, ["not UTF-8", "not an object", "not JSON", "NaN", "not JSON"], strict=True):
        assert expected in reason


def test_bad_csv_lines_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfid,title\n1,a\n2\n3,\xff\n4,"x"y\n5,b\n')
    rows, bad = read(path)
    assert [row["id"] for _, row in rows] == ["1", "5"]
    assert [location for location, _ in bad] == [f"{path}:{line}" for line in (3, 4, 5)]


@pytest.mark.parametrize("compression", [".gz", ".zst"])
def test_a_truncated_file_names_the_lines_before(tmp_path: Path, compression: str) -> None:
    path = tmp_path / f"a.jsonl{compression}"
    path.write_bytes(COMPRESS[compression](json_lines(ROWS * 50_000))[:-20])
    with pytest.raises(UserError, match=rf"a.jsonl{compression} is truncated: .* after [1-9]\d* whole lines"):
        read(path)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_a_corrupt_file_is_a_user_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"this is not compressed\n" * 9)
    with pytest.raises(UserError, match=name):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.jsonl.gz", "a.parquet"])
def test_a_file_without_rows_is_a_user_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith(".parquet"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([], pyarrow.schema([("id", pyarrow.string())])), path)
    else:
        path.write_bytes(COMPRESS[".gz" if name.endswith(".gz") else ""](b""))
    with pytest.raises(UserError, match="no readable row"):
        read(path)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_missing_column_names_the_near_ones(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(CONTENTS[suffix])
    with pytest.raises(UserError, match="no column 'tittle'; did you mean title.*its columns: id, title"):
        read(tmp_path / f"a{suffix}", columns=["id", "tittle"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("products.jsnl", "did you mean products.jsonl"),
        ("nowhere/products.jsonl", "no directory"),
        ("*.csv", "no file matches"),
        ("", "is a directory"),
        ("a.xml", r"cannot tell the format of .*allowed: \.jsonl"),
        ("array.json", "a.*:1 starts a JSON array"),
    ],
)
def test_a_wrong_source_says_what_is_allowed(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "products.jsonl").write_bytes(CONTENTS[".jsonl"])
    (tmp_path / "a.xml").touch()
    (tmp_path / "array.json").write_text('[{"id": 1}]')
    with pytest.raises(UserError, match=message):
        read(f"{tmp_path}/{source}")


def test_a_tfds_source_without_a_split_is_a_user_error() -> None:
    with pytest.raises(UserError, match="tfds:NAME/SPLIT"):
        read("tfds:ag_news_subset")


def test_a_tfds_data_set_gives_plain_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tfds = pytest.importorskip("tensorflow_datasets")

    class M5jaxOffers(tfds.core.GeneratorBasedBuilder):  # type: ignore[name-defined]
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = tmp_path  # else TFDS looks for the package of this test

        def _info(self) -> Any:
            features = {"title": tfds.features.Text(), "bullets": tfds.features.Sequence(tfds.features.Text())}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, _: Any) -> Any:
            return {"train": ((number, {"title": "قدر", "bullets": ["a", "b"]}) for number in range(2))}

        def _generate_examples(self) -> Any:
            raise NotImplementedError

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    row = {"title": "قدر", "bullets": ["a", "b"]}
    source = "tfds:m5jax_offers/train"
    assert read(source)[0] == [(f"{source}:row 1", row), (f"{source}:row 2", row)]
    assert len(read("tfds:m5jax_offers/train[:1]")[0]) == 1
    for wrong, message in (
        ("m5jax_offers/test", r"Unknown split 'test'. Should be one of \['train'\]"),
        ("m5jax_offers/train[:x]", r"Error parsing split 'train\[:x\]'"),
        ("m5jax_offers/large/train", "cannot use tfds:m5jax_offers/large/train: .*large not found"),
        ("m5jax_offers:9.9.9/train", "cannot be loaded at version 9.9.9, only: 1.0.0"),
        ("m5jax_offer/train", "unknown TFDS data set 'm5jax_offer'"),
    ):
        with pytest.raises(UserError, match=message):
            read(f"tfds:{wrong}")


def test_tfds_text_that_is_not_utf8_is_left_as_bytes_and_so_rejected() -> None:
    row = _plain({"text": b"\xff", "lang": b"en"})
    assert row == {"text": b"\xff", "lang": "en"}
    with pytest.raises(BadRecord, match="text is not UTF-8, a string is needed"):
        parse_record(row, "text")
