"""Scores of records: how hard a trained model finds each, in a Parquet file.

    key                uint64    of the record's canonical line, see `record_keys`
    predicted_tokens   int32     over which the loss is a mean
    loss               float32   mean cross-entropy, in nats; null for a record without a predicted token

A row a record. The schema's metadata holds, under `m5jax`, what the scores follow from as JSON: run, step, task, split,
vocabulary, definition. Records with equal lines have equal keys.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from m5jax.errors import UserError

_COLUMNS = [("key", pa.uint64()), ("predicted_tokens", pa.int32()), ("loss", pa.float32())]
_METADATA = b"m5jax"
_BYTES_AT_ONCE = 1 << 20


def record_keys(lines: Iterable[bytes]) -> np.ndarray:
    """Returns uint64 [records]: a 64-bit hash (BLAKE2b) of each canonical line, without its line end.

    Of 100 million records, the chance that any two share a key is 1 in 3,700.
    """
    digests = b"".join(hashlib.blake2b(line, digest_size=8).digest() for line in lines)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a file of scores holds.

    Attributes:
        path: of the file.
        keys: uint64 [rows].
        losses: float64 [rows], NaN where a record had no predicted token; rows of equal keys have equal losses.
        description: what they follow from; empty where the file does not say.
    """

    path: Path
    keys: np.ndarray
    losses: np.ndarray
    description: Mapping[str, Any]


class ScoreWriter:
    """Writes a file of scores, which appears only when it is whole.

    Raises UserError where it exists or cannot be written.
    """

    def __init__(self, path: Path, description: Mapping[str, Any]) -> None:
        if path.exists():
            raise UserError(f"{path} exists; remove it or choose another --output")
        self._path, self._partial = path, path.with_name(f".{path.name}.partial")
        self._schema = pa.schema(_COLUMNS).with_metadata({_METADATA: json.dumps(description).encode("utf-8")})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._partial, self._schema)
        except OSError as error:
            raise self._error(error) from error

    def write(self, keys: np.ndarray, predicted_tokens: np.ndarray, losses: np.ndarray) -> None:
        """Writes a row for each key, uint64 [rows], with its number of tokens and its loss, NaN where there is none."""
        columns = [
            pa.array(keys, pa.uint64()),
            pa.array(predicted_tokens, pa.int32()),
            pa.array(losses, pa.float32(), mask=np.isnan(losses)),
        ]
        try:
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        except OSError as error:
            raise self._error(error) from error

    def __enter__(self) -> "ScoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
            if kind is None:
                self._partial.replace(self._path)
        except OSError as failure:
            raise self._error(failure) from failure
        finally:
            self._partial.unlink(missing_ok=True)

    def _error(self, error: OSError) -> UserError:
        return UserError(f"cannot write {self._path}: {error.strerror or error}")


def read_scores(path: Path) -> Scores:
    """Returns the scores in a file, which are kept in memory: 16 bytes a row.

    Raises:
        UserError: the file cannot be read, or lacks the columns `key` and `loss`, or a loss is negative or infinite.
    """
    try:
        table = pq.read_table(path, columns=["key", "loss"])
        if table["key"].null_count:
            raise ValueError("a key is missing")
        keys = table["key"].cast(pa.uint64()).to_numpy()
        losses = table["loss"].cast(pa.float64()).to_numpy()
        description = dict(json.loads((table.schema.metadata or {}).get(_METADATA, b"{}")))
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} holds no scores that m5jax data score wrote ({reason})") from error
    if (losses < 0).any() or np.isinf(losses).any():
        raise UserError(f"{path} holds a loss that is negative or infinite; a loss is 0 or above, or null")
    # Equal lines were computed in batches of different shapes, and may differ in the last bits.
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return Scores(path, keys, losses[first][inverse], description)


def scores_fingerprint(path: Path) -> str:
    """Returns what tells a file of scores from others: a hash of its content.

    Raises:
        UserError: it cannot be read.
    """
    try:
        state = path.stat()
        return _content_hash(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise UserError(
            f"cannot read the scores {path}: {error.strerror or error}; m5jax data score makes them"
        ) from error


@functools.lru_cache(maxsize=64)
def _content_hash(path: Path, size: int, modified: int) -> str:
    content = hashlib.blake2b(digest_size=8)
    with path.open("rb") as file:
        while block := file.read(_BYTES_AT_ONCE):
            content.update(block)
    return content.hexdigest()
