"""The kinds of record that m5jax trains on, and how a row of any input becomes one; see `field_reader`."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from m5jax.data.catalog_records import INNER_FIELDS, ProductRecord, TextRecord
from m5jax.data.field_reader import BadRecord, FieldReader, column_value
from m5jax.data.labelled_records import JudgementRecord, PairRecord, SessionRecord, UtteranceRecord

__all__ = [
    "FIELDS",
    "INNER_FIELDS",
    "RECORDS",
    "REQUIRED_FIELDS",
    "BadRecord",
    "JudgementRecord",
    "PairRecord",
    "ProductRecord",
    "Record",
    "RecordKind",
    "SessionRecord",
    "TextRecord",
    "UtteranceRecord",
    "column_value",
    "parse_record",
]

RecordKind: TypeAlias = Literal["product", "text", "pair", "judgement", "session", "utterance"]
Record: TypeAlias = ProductRecord | TextRecord | PairRecord | JudgementRecord | SessionRecord | UtteranceRecord

RECORDS: dict[str, type[Record]] = {
    "product": ProductRecord,
    "text": TextRecord,
    "pair": PairRecord,
    "judgement": JudgementRecord,
    "session": SessionRecord,
    "utterance": UtteranceRecord,
}
FIELDS: dict[str, tuple[str, ...]] = {kind: record.fields for kind, record in RECORDS.items()}
REQUIRED_FIELDS: dict[str, tuple[str, ...]] = {kind: record.required for kind, record in RECORDS.items()}


def parse_record(
    row: Mapping[str, Any],
    kind: RecordKind,
    column_mapping: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Record:
    """Returns the record in `row`.

    Attributes may be a mapping, a list of `{"name", "value"}` mappings or of pairs, or (in CSV) the JSON text of one
    of them; numbers and booleans become strings, repeated names and lists are joined with a comma. Bullets may be a
    list or one string with line breaks. A product without a locale takes its language as locale.

    Raises:
        BadRecord: a required field is missing or empty, or a field has the wrong type.
    """
    return RECORDS[kind].parse(FieldReader(row, column_mapping or {}, defaults or {}))
