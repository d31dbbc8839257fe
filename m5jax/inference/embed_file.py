"""A file of records to a Parquet file of embeddings, streamed."""

import itertools
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jax.sharding import Mesh
from tqdm import tqdm

from m5jax.data.attributes import AttributeFormat
from m5jax.data.read_records import read_records
from m5jax.data.records import ProductRecord, RecordKind, TextRecord
from m5jax.data.rejected import RejectLog
from m5jax.data.seen_ids import SeenIds
from m5jax.data.serialize import serialize_text
from m5jax.errors import UserError
from partitioning import check_batch

logger = logging.getLogger(__name__)

CENTERED = b"m5jax.centered"  # in the metadata of the file: whether searches take the mean off
TITLE_CHARACTERS = 80
BATCHES_A_CHUNK = 16  # records sorted by length together, and one row group of the output


class AnyEmbedder(Protocol):
    """What makes embeddings of texts: an encoder, or two towers."""

    mesh: Mesh
    attributes: AttributeFormat
    texts_cut: int

    @property
    def centered(self) -> bool: ...

    @property
    def width(self) -> int: ...

    @property
    def longest(self) -> int: ...

    def embed(self, texts: Sequence[str], batch_size: int) -> np.ndarray: ...


def embed_file(
    embedder: AnyEmbedder,
    source: str,
    output: Path,
    *,
    kind: RecordKind = "product",
    column_mapping: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
    batch_size: int = 64,
) -> int:
    """Writes `id` (a product's id, or a text's location), `language`, `title` and `embedding` (float32) of each record.

    Returns:
      The number of embeddings.

    Raises:
      UserError: the output exists or cannot be written, or the input cannot be read; bad records past 1% included.
      PartitioningError: `batch_size` does not split over the mesh.
    """
    if output.exists():
        raise UserError(f"{output} exists; remove it or choose another --output")
    if batch_size < 1:
        raise UserError(f"--batch_size {batch_size}; allowed: 1 and above")
    check_batch(embedder.mesh, batch_size)
    schema = _schema(embedder.width).with_metadata({CENTERED: str(int(embedder.centered))})
    temporary = output.with_name(f"{output.name}.partial")
    count = 0
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _write_error(output, error) from error
    try:
        with (
            tempfile.TemporaryDirectory() as scratch,
            RejectLog(output.with_name(f"{output.name}.rejected.jsonl")) as rejects,
            SeenIds(Path(scratch) / "seen_ids") as seen,
            pq.ParquetWriter(temporary, schema) as writer,
            tqdm(unit=" records", desc="embedding", disable=None) as bar,
        ):
            records = _records(source, kind, column_mapping or {}, defaults or {}, rejects, seen, embedder.attributes)
            while chunk := list(itertools.islice(records, batch_size * BATCHES_A_CHUNK)):
                names, languages, titles, texts = zip(*chunk, strict=True)
                embeddings = embedder.embed(texts, batch_size)
                column = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.reshape(-1)), embedder.width)
                writer.write_table(
                    pa.table([pa.array(names), pa.array(languages), pa.array(titles), column], schema=schema)
                )
                count += len(chunk)
                bar.update(len(chunk))
        temporary.replace(output)
    except OSError as error:
        raise _write_error(output, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    if embedder.texts_cut:
        logger.warning("%d records were cut to the model's %d tokens", embedder.texts_cut, embedder.longest)
    return count


def _schema(width: int) -> pa.Schema:
    texts = [(name, pa.string()) for name in ("id", "language", "title")]
    return pa.schema([*texts, ("embedding", pa.list_(pa.float32(), width))])


def _write_error(output: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {output}: {error.strerror or error}")


def _records(
    source: str,
    kind: RecordKind,
    column_mapping: Mapping[str, str],
    defaults: Mapping[str, str],
    rejects: RejectLog,
    seen: SeenIds,
    attributes: AttributeFormat,
) -> Iterator[tuple[str, str, str, str]]:
    """Yields name, language, title (a text's beginning) and serialized text of each good record."""
    unused = np.random.default_rng(0)  # the format of a run is not random
    for location, _, record in read_records(source, kind, column_mapping, defaults, rejects):
        if seen.rejects(record, location, rejects):
            continue
        rejects.accept()
        if isinstance(record, ProductRecord):
            yield record.id, record.language, record.title, attributes.text(record, unused)
        elif isinstance(record, TextRecord):
            yield location, record.language, record.text[:TITLE_CHARACTERS], serialize_text(record)
