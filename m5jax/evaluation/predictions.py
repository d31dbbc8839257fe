"""What a model said of each unit of an evaluation's data, in `predictions.parquet`.

The columns are those of `m5jax.evaluation.prediction_columns`. The schema's metadata holds, under `m5jax`, as JSON:
format, version, kind, fingerprint, settings.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from m5jax.errors import UserError, unknown_name
from m5jax.evaluation.prediction_columns import COLUMNS, KINDS, check_table

FILE_NAME = "predictions.parquet"
FORMAT, VERSION = "m5jax predictions", 1
_METADATA = b"m5jax"
# Kind: what its metrics depend on beside the rows; of search, arguments of `metrics.search.query_metrics`.
SETTINGS: Mapping[str, tuple[str, ...]] = MappingProxyType({"search": ("cutoffs", "relevant_from", "gain")})


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The rows of `predictions.parquet`.

    Args:
        kind: one of `KINDS`.
        fingerprint: of the data, without the model; predictions of equal fingerprints can be compared.
        table: the columns of the kind, in order.
        settings: what the metrics depend on beside the rows, of the names in `SETTINGS`, as JSON has it; one that is
            not there is the default.

    Raises:
        UserError: the table is not of this kind, or a row is missing something or there twice.
    """

    kind: str
    fingerprint: str
    table: pa.Table
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of predictions", self.kind, KINDS)
        if not self.fingerprint:
            raise UserError("predictions need the fingerprint of their data, which is empty")
        _check_settings(self.kind, self.settings)
        check_table(self.kind, self.table)


def make_predictions(
    kind: str, fingerprint: str, columns: Mapping[str, Any], settings: Mapping[str, Any] = MappingProxyType({})
) -> Predictions:
    """Returns predictions of columns, each a sequence or an array, [rows].

    Raises:
        UserError: see `Predictions`; or a column's values are of another type.
    """
    if kind not in KINDS:
        raise unknown_name("kind of predictions", kind, KINDS)
    if unknown := columns.keys() - COLUMNS[kind].keys():
        raise unknown_name(f"column of {kind}", min(unknown), COLUMNS[kind])
    types = {name: of for name, of in COLUMNS[kind].items() if name in columns}
    try:
        table = pa.table({name: pa.array(columns[name], of) for name, of in types.items()})
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"the columns are no predictions of kind {kind} ({_first_line(error)})") from error
    return Predictions(kind, fingerprint, table, settings)


def write_predictions(folder: Path, predictions: Predictions) -> Path:
    """Writes `folder/predictions.parquet` and returns its path.

    Raises:
        UserError: it cannot be written.
    """
    described = {
        "format": FORMAT,
        "version": VERSION,
        "kind": predictions.kind,
        "fingerprint": predictions.fingerprint,
        "settings": dict(predictions.settings),
    }
    path = folder / FILE_NAME
    try:
        pq.write_table(predictions.table.replace_schema_metadata({_METADATA: json.dumps(described)}), path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def read_predictions(folder: Path) -> Predictions:
    """Returns what `folder/predictions.parquet` holds.

    Raises:
        UserError: it is missing or damaged, another version's or another program's.
    """
    path = folder / FILE_NAME
    try:
        table = pq.read_table(path)
        described = json.loads((table.schema.metadata or {}).get(_METADATA, b"{}"))
        if not isinstance(described, dict) or described.get("format") != FORMAT:
            raise ValueError("its metadata names another format")
        if described.get("version") != VERSION:
            raise ValueError(f"version {described.get('version')}; allowed: {VERSION}")
        kind, fingerprint, settings = (described[name] for name in ("kind", "fingerprint", "settings"))
        return Predictions(str(kind), str(fingerprint), table.replace_schema_metadata(), dict(settings))
    except (OSError, KeyError, ValueError, TypeError, RecursionError, pa.ArrowException) as error:
        raise UserError(f"{path} holds no predictions that m5jax evaluate wrote ({_first_line(error)})") from error


def _check_settings(kind: str, settings: Mapping[str, Any]) -> None:
    allowed = SETTINGS.get(kind, ())
    if unknown := settings.keys() - set(allowed):
        raise unknown_name(f"setting of {kind}", min(unknown), allowed)
    cutoffs, least, gain = settings.get("cutoffs", ()), settings.get("relevant_from", 1), settings.get("gain", "")
    whole = isinstance(cutoffs, (list, tuple)) and all(type(cutoff) is int for cutoff in cutoffs)
    if not whole or type(least) not in (int, float) or type(gain) is not str:
        raise UserError(
            f"settings of {kind} are {dict(settings)}; "
            "allowed: cutoffs (a list of integers), relevant_from (a number), gain (a text)"
        )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
