"""The two kinds of record that m5jax trains on, and how a row of any input becomes one.

A *row* is a mapping from the input's own column names to values. A *column mapping* names, for a field of ours, the
column that holds it (`{"id": "asin"}`); fields that it leaves out are looked up under their own name. A column
`a/b` is the key `b` of the mapping in column `a`, where no column is called `a/b` itself. *Defaults* are constants for
fields that a row leaves empty (`{"language": "en"}`).
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

RecordKind: TypeAlias = Literal["product", "text"]

FIELDS: dict[str, tuple[str, ...]] = {
    "product": ("id", "locale", "language", "title", "description", "bullets", "attributes", "category"),
    "text": ("text", "lang"),
}
REQUIRED_FIELDS: dict[str, tuple[str, ...]] = {"product": ("id", "language", "title"), "text": ("text", "lang")}

# A language names a directory of the corpus: the pattern also keeps path separators out.
_LANGUAGE_CODE = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]{2,8})*")


class BadRecord(ValueError):
    """A row that cannot be used; the message is the reason, without the location."""


@dataclasses.dataclass(frozen=True)
class ProductRecord:
    """One product in one locale. `attributes` keeps the order of the input."""

    id: str
    locale: str
    language: str
    title: str
    description: str = ""
    bullets: tuple[str, ...] = ()
    attributes: dict[str, str] = dataclasses.field(default_factory=dict)
    category: str = ""

    def to_json(self) -> str:
        """Returns the canonical line: every key always present, in the order of the fields, without a line end."""
        return json.dumps(vars(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str | bytes) -> "ProductRecord":
        """Reads a canonical line."""
        values = json.loads(line)
        return cls(**{**values, "bullets": tuple(values["bullets"])})


@dataclasses.dataclass(frozen=True)
class TextRecord:
    """One piece of plain text in one language."""

    text: str
    lang: str

    @property
    def language(self) -> str:
        return self.lang

    def to_json(self) -> str:
        """Returns the canonical line, without a line end."""
        return json.dumps(vars(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str | bytes) -> "TextRecord":
        """Reads a canonical line."""
        return cls(**json.loads(line))


Record: TypeAlias = ProductRecord | TextRecord


def column_value(row: Mapping[str, Any], column: str, absent: Any = None) -> Any:
    """Returns the value of `column` (or of the nested column `a/b`) in `row`, `absent` where there is none."""
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("/"):
        if not isinstance(value, Mapping) or part not in value:
            return absent
        value = value[part]
    return value


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
    get = _FieldReader(row, column_mapping or {}, defaults or {})
    if kind == "text":
        return TextRecord(text=get.text("text", required=True), lang=language_code(get.text("lang", required=True)))
    identifier = get.value("id")
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        identifier = str(identifier)
    language = language_code(get.text("language", required=True))
    return ProductRecord(
        id=_checked_text("id", identifier, required=True),
        locale=get.text("locale") or language,
        language=language,
        title=get.text("title", required=True),
        description=get.text("description"),
        bullets=_bullets(get.value("bullets")),
        attributes=_attributes(get.value("attributes")),
        category=get.text("category"),
    )


class _FieldReader:
    def __init__(self, row: Mapping[str, Any], column_mapping: Mapping[str, str], defaults: Mapping[str, Any]) -> None:
        self._row, self._column_mapping, self._defaults = row, column_mapping, defaults

    def value(self, field: str) -> Any:
        value = column_value(self._row, self._column_mapping.get(field, field))
        # Parquet files that went through pandas hold NaN for "nothing".
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            return self._defaults.get(field)
        return value

    def text(self, field: str, required: bool = False) -> str:
        return _checked_text(field, self.value(field), required)


def _checked_text(field: str, value: Any, required: bool = False) -> str:
    if value is None:
        value = ""
    if not isinstance(value, str):
        raise BadRecord(f"{field} is {_type_name(value)}, a string is needed")
    if required and not value.strip():
        raise BadRecord(f"{field} is missing or empty")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise BadRecord(f"{field} holds half of a surrogate pair, which is no character") from None
    return value


def language_code(code: str) -> str:
    """Returns a language code in lower case; raises BadRecord for what is none."""
    code = code.strip().lower()
    if not _LANGUAGE_CODE.fullmatch(code):
        raise BadRecord(f"language {code[:20]!r} is not a language code such as en or pt-br")
    return code


def _bullets(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    items = value.splitlines() if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        raise BadRecord(f"bullets is {_type_name(value)}, a list of strings or a string is needed")
    texts = (_checked_text("a bullet", item) for item in items)
    return tuple(text for text in texts if text.strip())


def _attributes(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise BadRecord("attributes is a string that is not JSON") from None
    attributes: dict[str, str] = {}
    for name, item in _attribute_pairs(value):
        name = _checked_text("an attribute name", name).strip()
        text = _attribute_value(name, item)
        if name and text.strip():
            attributes[name] = f"{attributes[name]}, {text}" if name in attributes else text
    return attributes


def _attribute_pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return value.items()
    if not isinstance(value, (list, tuple)):
        raise BadRecord(f"attributes is {_type_name(value)}, a mapping or a list of name and value pairs is needed")
    pairs = []
    for item in value:
        if isinstance(item, Mapping) and "name" in item and "value" in item:
            pairs.append((item["name"], item["value"]))
        elif isinstance(item, (list, tuple)) and len(item) == 2:
            pairs.append((item[0], item[1]))
        else:
            raise BadRecord("an item of attributes is neither a mapping with name and value nor a pair")
    return pairs


def _attribute_value(name: str, value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(filter(None, (_attribute_value(name, item) for item in value)))
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return _checked_text(f"the value of attribute {name[:40]!r}", value)


def _type_name(value: Any) -> str:
    names = {
        "dict": "an object",
        "list": "a list",
        "bool": "a boolean",
        "int": "a number",
        "float": "a number",
        "bytes": "not UTF-8",
    }
    return names.get(type(value).__name__, f"of type {type(value).__name__}")
