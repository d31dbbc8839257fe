"""From any input to checked records: rows read, parsed, the bad ones rejected."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from m5jax.data.readers import read_rows
from m5jax.data.records import FIELDS, INNER_FIELDS, REQUIRED_FIELDS, BadRecord, Record, RecordKind, parse_record
from m5jax.data.rejected import RejectLog
from m5jax.errors import unknown_name

Rewrite = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]


def read_records(
    source: str | Path | Sequence[str | Path],
    kind: RecordKind,
    column_mapping: Mapping[str, str],
    defaults: Mapping[str, Any],
    rejects: RejectLog,
    other_fields: Sequence[str] = (),
    rewrite: Rewrite | None = None,
) -> Iterator[tuple[str, Mapping[str, Any], Record]]:
    """Yields location, row and record of each good row; the caller counts those it accepts.

    Args:
        source: what `read_rows` takes.
        kind: "product" or "text".
        column_mapping: our field -> the input's column; those columns must be there.
        defaults: our field -> constant for rows that leave it empty.
        rejects: gets the bad rows.
        other_fields: names that `column_mapping` may have besides the record's fields.
        rewrite: makes of a row the one that is parsed, or None to leave it out; raises BadRecord for a bad one.

    Raises:
        UserError: an unknown field, or as `read_rows`.
    """
    allowed = (*FIELDS[kind], *other_fields)
    for field in (*column_mapping, *defaults):
        if field not in allowed:
            raise unknown_name(f"field of a {kind} record", field, allowed)
    columns = [] if rewrite else _needed_columns(kind, column_mapping, defaults)
    for location, row in read_rows(source, on_bad=rejects.reject, columns=columns):
        try:
            rewritten = _rewritten(row, rewrite) if rewrite else row
            if rewritten is None:
                continue
            row = rewritten
            record = parse_record(row, kind, column_mapping, defaults)
        except BadRecord as error:
            rejects.reject(location, str(error))
        else:
            yield location, row, record


def _rewritten(row: Mapping[str, Any], rewrite: Rewrite) -> Mapping[str, Any] | None:
    try:
        return rewrite(row)
    except BadRecord:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:  # of a user's function
        raise BadRecord(f"the row cannot be rewritten: {type(error).__name__} {error}") from error


def _needed_columns(kind: RecordKind, column_mapping: Mapping[str, str], defaults: Mapping[str, Any]) -> list[str]:
    """Returns what the user mapped, and of the other fields the required ones without a default."""
    inner = () if kind == "product" else INNER_FIELDS
    mapped = [column for field, column in column_mapping.items() if field not in inner]
    unmapped = [field for field in REQUIRED_FIELDS[kind] if field not in column_mapping and field not in defaults]
    return [*mapped, *unmapped]
