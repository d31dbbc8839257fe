"""One row: parsed, normalised, its language decided, held against the filters, and put on a side of the split."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from m5jax.data.corpus import in_validation
from m5jax.data.field_reader import language_code
from m5jax.data.preparation.language import UNDETERMINED
from m5jax.data.preparation.normalize import normalize_text
from m5jax.data.preparation.settings import LABELLED, LANGUAGE, SPLIT_KEY, Preparation
from m5jax.data.records import (
    REQUIRED_FIELDS,
    BadRecord,
    ProductRecord,
    TextRecord,
    column_value,
    parse_record,
)

CatalogRecord: TypeAlias = ProductRecord | TextRecord

_LANGUAGE_FIELDS = {"text": "lang", "product": "language", LABELLED: LANGUAGE}


class Cleaned(NamedTuple):
    """A row that could be read.

    Attributes:
        language: that it states, or was found to be in.
        dropped: the rule that it broke, None where it stays.
        split: its side.
        line: its canonical JSON.
    """

    language: str
    dropped: str | None
    split: str
    line: str


class Cleaner:
    """Makes clean lines of rows, as `Preparation` says. Loads what it needs when it is first used."""

    def __init__(self, settings: Preparation) -> None:
        self._settings = settings
        self._defaults: dict[str, Any] = dict(settings.defaults)
        if settings.languages is not None or settings.kind == LABELLED:
            self._defaults.setdefault(_LANGUAGE_FIELDS[settings.kind], UNDETERMINED)

    @property
    def columns(self) -> list[str]:
        """Columns that every input must have: those that are mapped, and required fields without a default."""
        mapping = self._settings.column_mapping
        required = REQUIRED_FIELDS.get(self._settings.kind, ())
        return [*mapping.values(), *(name for name in required if name not in mapping and name not in self._defaults)]

    def load(self) -> None:
        """Loads the models; raises UserError where there is none for a language."""
        if self._settings.languages is not None:
            self._settings.languages.load()

    def clean(self, row: Mapping[str, Any], split: str) -> Cleaned:
        """Returns what becomes of a row of `split`; raises BadRecord where it cannot be used."""
        if self._settings.kind == LABELLED:
            return self._clean_labelled(row, split)
        parsed = parse_record(row, self._settings.record_kind, self._settings.column_mapping, self._defaults)
        assert isinstance(parsed, (ProductRecord, TextRecord))  # the kinds of a preparation
        record = _normalized(parsed)
        language, dropped = record.language, None
        if self._settings.languages is not None:
            language, dropped = self._settings.languages.decide(language, _running_text(record))
            record = _in_language(record, language)
        elif language == UNDETERMINED:
            raise BadRecord("the language is stated as undetermined, and none is identified")
        if dropped is None and self._settings.filters is not None:
            dropped = self._settings.filters.broken_rule(record_text(record))
        # Of texts that are equal once normalised, whatever their language code, none is on another side.
        return Cleaned(language, dropped, self._side(row, split, record.split_key), record.to_json())

    def _clean_labelled(self, row: Mapping[str, Any], split: str) -> Cleaned:
        column = self._settings.column_mapping.get(LANGUAGE)
        stated = column_value(row, column) if column is not None else None
        language = language_code(str(stated or self._defaults[LANGUAGE]))
        try:
            line = json.dumps(_normalized_values(row), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            line.encode("utf-8")
        except (TypeError, ValueError) as error:
            raise BadRecord(f"the row is not JSON: {error}") from None
        return Cleaned(language, None, self._side(row, split, _sorted_json(line)), line)

    def _side(self, row: Mapping[str, Any], split: str, default_key: str) -> str:
        column = self._settings.column_mapping.get(SPLIT_KEY)
        key = column_value(row, column) if column is not None else None
        chosen = in_validation(default_key if key is None else str(key), self._settings.hashed_fraction)
        return "validation" if chosen else split


def record_text(record: CatalogRecord) -> str:
    """Returns what two records are compared by: all that they say but their id and locale, in lines."""
    if isinstance(record, TextRecord):
        return record.text
    attributes = (f"{name} {value}" for name, value in record.attributes.items())
    return "\n".join(filter(None, (_running_text(record), *attributes, record.category)))


def line_text(kind: str, line: str) -> str:
    """Returns the text that two canonical lines of a kind are compared by; labelled rows as a whole."""
    if kind == LABELLED:
        return _sorted_json(line)
    return record_text(TextRecord.from_json(line) if kind == "text" else ProductRecord.from_json(line))


def text_key(language: str, text: str) -> bytes:
    """Returns 16 bytes that stand for a text of a language: of n texts two share them with about n² / 2^129."""
    return hashlib.blake2b(f"{primary_language(language)}\n{text}".encode(), digest_size=16).digest()


def primary_language(language: str) -> str:
    """Returns "en" of "en-us": what texts have to share to be compared."""
    return language.replace("_", "-").partition("-")[0]


def _in_language(record: CatalogRecord, language: str) -> CatalogRecord:
    if isinstance(record, TextRecord):
        return TextRecord(record.text, language)
    locale = language if record.locale == UNDETERMINED else record.locale
    return dataclasses.replace(record, language=language, locale=locale)


def _running_text(record: CatalogRecord) -> str:
    """The part of a record that is in its language: names and values of attributes are often not."""
    if isinstance(record, TextRecord):
        return record.text
    return "\n".join(filter(None, (record.title, *record.bullets, record.description)))


def _normalized(record: CatalogRecord) -> CatalogRecord:
    values = {name: _normalized_values(value) for name, value in vars(record).items()}
    if isinstance(record, TextRecord):
        if not values["text"]:
            raise BadRecord("text holds nothing but invisible characters")
        return TextRecord(**values)
    for name in ("id", "title"):
        if not values[name]:
            raise BadRecord(f"{name} holds nothing but invisible characters")
    attributes: dict[str, str] = {}
    for raw_name, value in values["attributes"].items():
        if (name := normalize_text(raw_name)) and value:
            # As `parse_attributes` does with a name that comes twice.
            attributes[name] = f"{attributes[name]}, {value}" if name in attributes else value
    values["attributes"] = attributes
    return ProductRecord(**{**values, "bullets": tuple(filter(None, values["bullets"]))})


def _normalized_values(value: Any) -> Any:
    if isinstance(value, str):
        return normalize_text(value)
    if isinstance(value, Mapping):
        return {name: _normalized_values(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_normalized_values(item) for item in value]
    return value


def _sorted_json(line: str) -> str:
    return json.dumps(json.loads(line), ensure_ascii=False, sort_keys=True)
