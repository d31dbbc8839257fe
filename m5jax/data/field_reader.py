"""How the fields of a record are read from a row of any input.

A *row* is a mapping from the input's own column names to values. A *column mapping* names, for a field of ours, the
column that holds it (`{"id": "asin"}`); fields that it leaves out are looked up under their own name. A column
`a/b` is the key `b` of the mapping in column `a`, where no column is called `a/b` itself. *Defaults* are constants for
fields that a row leaves empty (`{"language": "en"}`).
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

# A language names a directory of the corpus: the pattern also keeps path separators out.
_LANGUAGE_CODE = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]{2,8})*")


class BadRecord(ValueError):
    """A row that cannot be used; the message is the reason, without the location."""


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


class FieldReader:
    """Values of our fields in one row, by the columns that hold them."""

    def __init__(self, row: Mapping[str, Any], column_mapping: Mapping[str, str], defaults: Mapping[str, Any]) -> None:
        self._row, self.column_mapping, self._defaults = row, column_mapping, defaults

    def value(self, field: str) -> Any:
        value = column_value(self._row, self.column_mapping.get(field, field))
        # Parquet files that went through pandas hold NaN for "nothing".
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            return self._defaults.get(field)
        return value

    def text(self, field: str, required: bool = False) -> str:
        return checked_text(field, self.value(field), required)


def checked_text(field: str, value: Any, required: bool = False) -> str:
    """Returns a string, "" for None; raises BadRecord for anything else, and where a required one is empty."""
    if value is None:
        value = ""
    if not isinstance(value, str):
        raise BadRecord(f"{field} is {type_name(value)}, a string is needed")
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


def parse_bullets(value: Any) -> tuple[str, ...]:
    """Returns the bullets of a list or of a string with line breaks."""
    if value is None:
        return ()
    items = value.splitlines() if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        raise BadRecord(f"bullets is {type_name(value)}, a list of strings or a string is needed")
    texts = (checked_text("a bullet", item) for item in items)
    return tuple(text for text in texts if text.strip())


def parse_attributes(value: Any) -> dict[str, str]:
    """Returns names and values of a mapping, a list of pairs, or the JSON text of one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise BadRecord("attributes is a string that is not JSON") from None
    attributes: dict[str, str] = {}
    for name, item in _attribute_pairs(value):
        name = checked_text("an attribute name", name).strip()
        text = scalar_text(f"the value of attribute {name[:40]!r}", item)
        if name and text.strip():
            attributes[name] = f"{attributes[name]}, {text}" if name in attributes else text
    return attributes


def _attribute_pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return value.items()
    if not isinstance(value, (list, tuple)):
        raise BadRecord(f"attributes is {type_name(value)}, a mapping or a list of name and value pairs is needed")
    pairs = []
    for item in value:
        if isinstance(item, Mapping) and "name" in item and "value" in item:
            pairs.append((item["name"], item["value"]))
        elif isinstance(item, (list, tuple)) and len(item) == 2:
            pairs.append((item[0], item[1]))
        else:
            raise BadRecord("an item of attributes is neither a mapping with name and value nor a pair")
    return pairs


def scalar_text(field: str, value: Any) -> str:
    """Returns the text of a string, number, boolean or a list of them, "" for nothing."""
    if isinstance(value, (list, tuple)):
        return ", ".join(filter(None, (scalar_text(field, item) for item in value)))
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return checked_text(field, value)


def type_name(value: Any) -> str:
    """Returns what a value is, for error messages."""
    names = {
        "dict": "an object",
        "list": "a list",
        "bool": "a boolean",
        "int": "a number",
        "float": "a number",
        "bytes": "not UTF-8",
    }
    return names.get(type(value).__name__, f"of type {type(value).__name__}")
