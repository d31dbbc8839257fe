"""Rows of any input, streamed: JSON lines, Parquet, CSV and TSV files, compressed or not, and TFDS data sets.

A row comes with its location (`offers.jsonl.gz:17`, `offers.parquet:row 3`, `tfds:ag_news_subset/train:row 8`), which
error messages and the reject log name. What is wrong with one row (bytes that are not UTF-8, broken JSON, a CSV line
with too many fields) is reported to `on_bad` and the rest goes on; what is wrong with a file raises UserError.
"""

import csv
import difflib
import glob
import gzip
import io
import json
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import pyarrow
import pyarrow.parquet
import zstandard

from m5jax.data.field_reader import column_value
from m5jax.data.load_tensorflow import load_tensorflow
from m5jax.errors import UserError, unknown_name

Row: TypeAlias = tuple[str, Mapping[str, Any]]
OnBad: TypeAlias = Callable[[str, str], None]

TFDS_PREFIX = "tfds:"
COMPRESSIONS = (".gz", ".zst", ".zstd")
ALLOWED_SOURCES = (
    ".jsonl or .json (JSON lines), .csv, .tsv, each also with .gz, .zst or .zstd; .parquet; or tfds:NAME/SPLIT"
)
# A column may be empty in some JSON rows; one that is in none of the first rows is a wrong column mapping.
_FIRST_ROWS = 100


def read_rows(
    source: str | Path | Sequence[str | Path], *, on_bad: OnBad, columns: Collection[str] = ()
) -> Iterator[Row]:
    """Yields `(location, row)` from one or several files, globs or `tfds:NAME/SPLIT` data sets, in a stable order.

    Args:
        source: path, glob or TFDS name, or a sequence of them.
        on_bad: called with the location and the reason of each row that cannot be read.
        columns: columns (or nested columns `a/b`) that must be there in every file.

    Raises:
        UserError: no such file, a glob without a match, an unknown suffix, a file without rows, a truncated or
            corrupt file, or one without one of `columns`.
    """
    for path in expand_source(source):
        yield from _checked(path, _open_rows(path, on_bad), columns)


def expand_source(source: str | Path | Sequence[str | Path]) -> list[str]:
    """Returns the files (sorted within a glob) and TFDS names in `source`; raises UserError where there are none."""
    patterns = [source] if isinstance(source, (str, Path)) else list(source)
    if not patterns:
        raise UserError("no input file is named; allowed: " + ALLOWED_SOURCES)
    paths: list[str] = []
    for pattern in map(str, patterns):
        if pattern.startswith(TFDS_PREFIX) or Path(pattern).is_file():
            paths.append(pattern)
        elif glob.has_magic(pattern):
            matches = sorted(path for path in glob.glob(pattern, recursive=True) if Path(path).is_file())
            if not matches:
                raise UserError(f"no file matches {pattern}")
            paths += matches
        else:
            raise _missing_file(pattern)
    return paths


def _missing_file(path: str) -> UserError:
    if Path(path).is_dir():
        return UserError(f"{path} is a directory; name its files, for example {path.rstrip('/')}/*.jsonl")
    parent = Path(path).parent
    if not parent.is_dir():
        return UserError(f"no such file: {path} (there is no directory {parent})")
    near = difflib.get_close_matches(Path(path).name, [item.name for item in parent.iterdir()], n=3)
    return UserError(f"no such file: {path}" + (f"; did you mean {' or '.join(near)}?" if near else ""))


def _open_rows(path: str, on_bad: OnBad) -> Iterator[Row]:
    if path.startswith(TFDS_PREFIX):
        return _tfds_rows(path)
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    elif suffixes and suffixes[-1] == ".parquet":
        return _parquet_rows(path, on_bad)
    match suffixes[-1] if suffixes else "":
        case ".jsonl" | ".json":
            return _json_rows(path, on_bad)
        case ".csv":
            return _csv_rows(path, on_bad, "excel")
        case ".tsv":
            return _csv_rows(path, on_bad, "excel-tab")
    raise UserError(f"cannot tell the format of {path}; allowed: {ALLOWED_SOURCES}")


def _checked(path: str, rows: Iterator[Row], columns: Collection[str]) -> Iterator[Row]:
    first = list(islice(rows, _FIRST_ROWS))
    if not first:
        raise UserError(f"{path} holds no readable row")
    for column in columns:
        if all(column_value(row, column, _ABSENT) is _ABSENT for _, row in first):
            there = list(dict.fromkeys(chain.from_iterable(row for _, row in first)))
            raise _missing_column(path, column, there)
    yield from first
    first.clear()
    yield from rows


_ABSENT = object()


def _missing_column(path: str, column: str, there: Collection[str]) -> UserError:
    near = difflib.get_close_matches(column, there, n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return UserError(f"{path} has no column {column!r}; {hint}its columns: {', '.join(map(str, there))}")


class _Truncated(Exception):
    """The compressed stream ends before its end mark."""


class _WholeFrames(io.RawIOBase):
    """A zstandard file that, unlike `zstandard.open`, does not take a cut-off frame for the end of the file."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 closed in close()
        self._decompressor: Any = None
        self._pending = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            chunk = self._pending or self._file.read(1 << 17)
            if not chunk:
                if self._decompressor is not None:
                    raise _Truncated
                return 0
            if self._decompressor is None:
                self._decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
            self._ready = memoryview(self._decompressor.decompress(chunk))
            self._pending = self._decompressor.unused_data
            if self._decompressor.eof:
                self._decompressor = None
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_binary(path: str) -> AbstractContextManager[BinaryIO]:
    if path.endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    if path.endswith((".zst", ".zstd")):
        return cast(BinaryIO, io.BufferedReader(_WholeFrames(path), 1 << 17))
    return open(path, "rb")


def _lines(path: str) -> Iterator[bytes]:
    """Yields the lines of a file; a truncated or corrupt one raises UserError with the number of lines before."""
    read = 0
    try:
        with _open_binary(path) as stream:
            for line in stream:
                read += 1
                yield line
    except (EOFError, _Truncated) as error:
        raise UserError(f"{path} is truncated: its compressed data ends after {read} whole lines") from error
    except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        raise UserError(f"{path} is corrupt or not compressed as its name says, after {read} lines: {error}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_decode_json = json.JSONDecoder(parse_constant=_no_constant).decode


def _json_rows(path: str, on_bad: OnBad) -> Iterator[Row]:
    is_json_lines = ".jsonl" in Path(path).suffixes
    for number, line in enumerate(_lines(path), start=1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
            if not is_json_lines and line.lstrip().startswith(b"["):
                raise UserError(f"{path}:1 starts a JSON array; JSON lines are needed: one object a line")
        if not line.strip():
            continue
        location = f"{path}:{number}"
        try:
            row = _decode_json(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            on_bad(location, f"not UTF-8: byte 0x{line[error.start]:02x} at byte {error.start + 1} of the line")
        except (ValueError, RecursionError) as error:
            on_bad(location, f"not JSON: {error}")
        else:
            if isinstance(row, dict):
                yield location, row
            else:
                on_bad(location, f"JSON that is not an object but {type(row).__name__}")


def _csv_rows(path: str, on_bad: OnBad, dialect: str) -> Iterator[Row]:
    # surrogateescape lets the CSV reader find the end of a record with wrong bytes in it: only that one is lost.
    text = (line.decode("utf-8", errors="surrogateescape") for line in _lines(path))
    reader = csv.reader(text, dialect=dialect, strict=True)
    try:
        header = [name.removeprefix("\ufeff").strip() for name in next(reader, [])]
    except csv.Error as error:
        raise UserError(f"{path}:1 is no CSV header: {error}") from error
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise UserError(f"{path}:1 names the column {twice!r} twice")
    while True:
        location = f"{path}:{reader.line_num + 1}"
        try:
            fields = next(reader, None)
        except csv.Error as error:
            on_bad(location, f"not CSV: {error}")
            continue
        if fields is None:
            return
        if not fields:
            continue
        if len(fields) != len(header):
            on_bad(location, f"{len(fields)} fields, the header names {len(header)}")
        elif any("\udc80" <= character <= "\udcff" for field in fields for character in field if character > "\ud7ff"):
            on_bad(location, "not UTF-8")
        else:
            yield location, dict(zip(header, fields, strict=True))


def _parquet_rows(path: str, on_bad: OnBad) -> Iterator[Row]:
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for index in range(batch.num_rows):
                    number += 1
                    location = f"{path}:row {number}"
                    try:
                        row = batch.slice(index, 1).to_pylist()[0]
                    except UnicodeDecodeError:
                        on_bad(location, "not UTF-8")
                    else:
                        yield location, row
    except (pyarrow.ArrowException, OSError) as error:
        reason = _first_line(error)
        raise UserError(f"{path} is no readable Parquet file (after {number} rows): {reason}") from error


def _tfds_rows(source: str) -> Iterator[Row]:
    name, separator, split = source.removeprefix(TFDS_PREFIX).rpartition("/")
    if not (separator and name and split):
        raise UserError(f"{source} names no split; allowed: tfds:NAME/SPLIT, for example tfds:ag_news_subset/train")
    load_tensorflow()
    try:
        import tensorflow as tf
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(f"{source} needs the package tensorflow-datasets: {error}") from error
    try:
        builder = tfds.builder(name)
    except tfds.core.DatasetNotFoundError as error:
        raise unknown_name("TFDS data set", name, tfds.list_builders()) from error
    except (ValueError, AssertionError) as error:  # an unknown configuration or version
        raise UserError(f"cannot use {source}: {_first_line(error)}") from error
    try:
        builder.download_and_prepare()
    except Exception as error:  # what a data set's own preparation raises is open-ended
        raise UserError(f"cannot prepare {source}: {_first_line(error)}") from error
    try:
        examples = tfds.as_numpy(builder.as_dataset(split=split))
    except (ValueError, AssertionError) as error:  # an unknown split, or a slice such as train[:x]
        raise UserError(f"cannot read {source}: {_first_line(error)}") from error
    number = 0
    try:
        for example in examples:
            number += 1
            yield f"{source}:row {number}", _plain(example)
    except tf.errors.OpError as error:
        raise UserError(f"cannot read {source} (after {number} rows): {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _plain(value: Any) -> Any:
    """Returns a TFDS example with numpy values and bytes as Python values; bytes that are not UTF-8 stay bytes."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
