"""Packed rows on disk, in the order of training: written once, read by any number of hosts without TensorFlow.

    DIRECTORY/rows.json                              features, number of rows, and the definition they were made with
    DIRECTORY/rows-0000k-of-0000n.array_record       consecutive rows, a record each
    DIRECTORY/held_out.json, held_out-K.npz          held-out rows, see `m5jax.data.held_out_rows`

A row has a number, its place in the order. Step s of a run with batches of B rows takes the rows s * B to
(s + 1) * B - 1, whichever hosts read them: a run that resumes on other hosts, or with another batch, goes on with the
next row.
"""

import dataclasses
import hashlib
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grain
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from tqdm import tqdm

from m5jax.data.held_out_rows import HeldOutRows, write_held_out
from m5jax.errors import UserError

FILE_NAME = "rows.json"
FORMAT_VERSION = 1
ROWS_A_SHARD = 65_536
# Grain wants each record to be found on its own.
_WRITER_OPTIONS = "group_size:1,zstd:1"
# Of whole batches, read ahead.
_READER_OPTIONS = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Feature:
    """One array of a row: its name, length and dtype ("int32" or "float32")."""

    name: str
    length: int
    dtype: str

    @property
    def bytes(self) -> int:
        return self.length * np.dtype(self.dtype).itemsize


@dataclasses.dataclass(frozen=True)
class Rows:
    """What a directory of rows holds; see the module.

    Attributes:
        directory: where.
        features: of each row, in the order of its bytes.
        shards: file name -> [rows, bytes of the file].
        definition: what the rows follow from: tasks and their steps, rates, vocabulary, lengths, seed.
    """

    directory: Path
    features: tuple[Feature, ...]
    shards: Mapping[str, tuple[int, int]]
    definition: Mapping[str, Any]

    @property
    def count(self) -> int:
        return sum(rows for rows, _ in self.shards.values())

    @property
    def fingerprint(self) -> str:
        """Tells these rows from others."""
        described = json.dumps([self.shards, self.definition], sort_keys=True)
        return hashlib.blake2b(described.encode("utf-8"), digest_size=8).hexdigest()

    def check(self, definition: Mapping[str, Any]) -> None:
        """Raises UserError where the rows were made with another definition, naming the difference."""
        for name in sorted(self.definition.keys() | definition.keys()):
            made, wanted = self.definition.get(name), definition.get(name)
            if made != wanted:
                raise UserError(
                    f"the rows in {self.directory} were made with another definition: {name} was {made}, is {wanted}"
                )


def write_rows(
    batches: Iterable[Batch],
    count: int | None,
    directory: Path,
    definition: Mapping[str, Any],
    held_out: Mapping[str, HeldOutRows] = MappingProxyType({}),
    held_out_definition: Mapping[str, Any] = MappingProxyType({}),
) -> Rows:
    """Writes the first `count` rows of `batches` in order; None: all of them, which come to an end.

    Args:
        batches: the training batches.
        count: rows to write.
        directory: must not exist.
        definition: what the rows follow from.
        held_out: held-out rows to write beside them, by label; see `m5jax.data.held_out_rows`.
        held_out_definition: what those follow from.

    Raises:
        UserError: the directory exists, or cannot be written.
    """
    if directory.exists():
        raise UserError(f"{directory} exists; remove it or choose another --output")
    if count is not None and count < 1:
        raise UserError(f"{count} rows were asked for; allowed: 1 or more")
    partial = directory.with_name(f".{directory.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        features, shards = _write_shards(batches, count, partial)
        rows = Rows(directory, features, shards, json.loads(json.dumps(definition)))
        described = {
            "version": FORMAT_VERSION,
            "features": [dataclasses.asdict(feature) for feature in features],
            "shards": shards,
            "definition": rows.definition,
        }
        if held_out:
            write_held_out(partial, held_out, held_out_definition)
        (partial / FILE_NAME).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        partial.rename(directory)
    except OSError as error:
        raise UserError(f"cannot write {directory}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return rows


def _write_shards(
    batches: Iterable[Batch], count: int | None, directory: Path
) -> tuple[tuple[Feature, ...], dict[str, tuple[int, int]]]:
    rows = itertools.islice(_single_rows(batches), count)
    features: tuple[Feature, ...] = ()
    written: list[tuple[Path, int]] = []
    with tqdm(total=count, desc="writing rows", unit=" rows", unit_scale=True, disable=None) as progress:
        while (first := next(rows, None)) is not None:
            features = tuple(Feature(name, len(value), value.dtype.name) for name, value in first.items())
            path = directory / f"{len(written)}.array_record"
            writer = ArrayRecordWriter(str(path), _WRITER_OPTIONS)
            size = 0
            for row in itertools.chain([first], itertools.islice(rows, ROWS_A_SHARD - 1)):
                writer.write(b"".join(row[feature.name].tobytes() for feature in features))
                progress.update()
                size += 1
            writer.close()
            written.append((path, size))
    if not written:
        raise UserError("there is no row to write")
    shards: dict[str, tuple[int, int]] = {}
    for shard, (path, size) in enumerate(written):
        name = f"rows-{shard:05d}-of-{len(written):05d}.array_record"
        shards[name] = (size, path.rename(directory / name).stat().st_size)
    return features, shards


def _single_rows(batches: Iterable[Batch]) -> Iterator[Batch]:
    for batch in batches:
        for index in range(len(next(iter(batch.values())))):
            yield {name: values[index] for name, values in batch.items()}


def read_rows(directory: Path) -> Rows:
    """Returns what `write_rows` wrote.

    Raises:
        UserError: the directory holds no rows, or a shard is missing or truncated.
    """
    try:
        described = json.loads((directory / FILE_NAME).read_text(encoding="utf-8"))
        version = described["version"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{directory} holds no rows that m5jax data materialize wrote ({error})") from error
    if version != FORMAT_VERSION:
        raise UserError(f"the rows in {directory} have format {version}, {FORMAT_VERSION} is needed")
    try:
        features = tuple(Feature(**feature) for feature in described["features"])
        shards = {name: (int(rows), int(size)) for name, (rows, size) in described["shards"].items()}
        rows = Rows(directory, features, shards, dict(described["definition"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{directory / FILE_NAME} is damaged ({error}); write the rows again") from error
    for name, (_, size) in shards.items():
        path = directory / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            state = "is missing" if found is None else f"has {found} bytes of {size}"
            raise UserError(f"the shard {path} {state}; restore it from a copy or write the rows again")
    return rows


class MaterializedBatches(Iterator[Batch]):
    """Endless host batches of rows in their order, from the first again after the last.

    A position is the number of the next row, the same for all processes: it can be restored by another number of them,
    and with another batch size.

    Args:
        rows: from `read_rows`.
        batch_size: rows in a batch of all processes together.
        share_index: which part of each batch this process reads.
        share_count: how many equal parts there are, which divides `batch_size`.

    Attributes:
        shapes: of each feature of a host batch.
    """

    of_all_processes = True

    def __init__(self, rows: Rows, batch_size: int, share_index: int = 0, share_count: int = 1) -> None:
        if batch_size < 1 or batch_size % share_count or not 0 <= share_index < share_count:
            raise UserError(f"a batch of {batch_size} rows does not split into {share_count} equal parts")
        self._rows, self._batch_size, self._share = rows, batch_size, batch_size // share_count
        self._offset = share_index * self._share
        self.shapes = {feature.name: (self._share, feature.length) for feature in rows.features}
        self.next_row = 0
        self._source = grain.sources.ArrayRecordDataSource([str(rows.directory / name) for name in rows.shards])
        self._batches: Iterator[Batch] | None = None

    @property
    def fingerprint(self) -> str:
        return self._rows.fingerprint

    def __next__(self) -> Batch:
        if self._batches is None:
            self._batches = self._from(self.next_row)
        try:
            batch = next(self._batches)
        except StopIteration:
            raise AssertionError("the rows have no end") from None
        except Exception as error:  # of the file format's library, which names no types
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"cannot read the rows in {self._rows.directory}: {first}") from error
        self.next_row += self._batch_size
        return batch

    def save(self, directory: Path) -> None:
        """Writes the position into `directory`; raises UserError where that fails."""
        position = {"next_row": self.next_row, "rows": self._rows.fingerprint}
        try:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "position.json").write_text(json.dumps(position) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot save the data position in {directory}: {error.strerror or error}") from error

    def restore(self, directory: Path) -> None:
        """Goes to the position in `directory`; raises UserError where there is none in these rows."""
        try:
            position = json.loads((directory / "position.json").read_text(encoding="utf-8"))
            next_row, fingerprint = int(position["next_row"]), position["rows"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"no data position of rows can be read in {directory}: {error}") from error
        if fingerprint != self._rows.fingerprint:
            raise UserError(f"the data position in {directory} is of other rows than those in {self._rows.directory}")
        self.next_row, self._batches = next_row, None

    def _from(self, first_row: int) -> Iterator[Batch]:
        own = _OwnRows(self._source, first_row, self._batch_size, self._offset, self._share)
        return iter(grain.MapDataset.source(own).map(self._decode).to_iter_dataset(_READER_OPTIONS))

    def _decode(self, records: list[bytes]) -> Batch:
        content = np.frombuffer(b"".join(records), np.uint8).reshape(self._share, -1)
        batch, start = {}, 0
        for feature in self._rows.features:
            own = np.ascontiguousarray(content[:, start : start + feature.bytes])
            batch[feature.name] = own.view(feature.dtype)
            start += feature.bytes
        return batch


class _OwnRows:
    """The records of each batch that one process reads; so many batches that they have no end."""

    def __init__(self, source: Any, first_row: int, batch_size: int, offset: int, share: int) -> None:
        self._source, self._share = source, share
        self._first_row, self._batch_size = first_row + offset, batch_size

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, step: int) -> list[bytes]:
        first = self._first_row + step * self._batch_size
        return self._source.__getitems__([row % len(self._source) for row in range(first, first + self._share)])
