"""Labelled rows of a user's file as examples: texts that a model reads, and what it is to say of them.

A text is a string, a product (a mapping with title, description, bullets, attributes, category, or any others, which
are attributes then), or the columns of one that begin with its name (`left_title`, `left_price`).
"""

import dataclasses
import hashlib
import itertools
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from m5jax.data.attributes import AttributeFormat
from m5jax.data.catalog_records import INNER_FIELDS, inner_product
from m5jax.data.field_reader import BadRecord, FieldReader, column_value, language_code, scalar_text, type_name
from m5jax.data.readers import Row, expand_source, read_rows
from m5jax.data.rejected import RejectLog
from m5jax.data.serialize import neutralize
from m5jax.errors import UserError, unknown_name

NO_LANGUAGE = "und"  # ISO 639-2 for undetermined
COMMON_FIELDS = ("language", "group", "weight")
_FIRST_ROWS = 100  # a column may be in some rows only
_ABSENT = object()


@dataclasses.dataclass(frozen=True)
class Example:
    """One labelled row.

    Attributes:
        location: file and line.
        texts: one, the two sides of a pair, several items, or the words of an utterance.
        label: a class or a text, or a number; None where none is known.
        tags: of the words of an utterance.
        language: of the texts.
        group: what examples of one thing share, such as a product's id; "": none is known.
        weight: how much the example counts, such as how often a query is asked.
    """

    location: str
    texts: tuple[str, ...]
    label: str | float | None = None
    tags: tuple[str, ...] = ()
    language: str = NO_LANGUAGE
    group: str = ""
    weight: float = 1.0

    @property
    def key(self) -> str:
        """What two examples of the same texts have in common, case and white space aside."""
        text = "\0".join(" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in self.texts)
        return hashlib.blake2b(text.encode("utf-8"), digest_size=8).hexdigest()


@dataclasses.dataclass(frozen=True)
class Columns:
    """How fields are found in a file.

    Attributes:
        names: field to column, of those that are not called as the field.
        defaults: constants for fields that rows leave empty.
    """

    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class RowReader:
    """The fields of one row.

    Attributes:
        row: as the file has it.
        columns: of the fields.
        attributes: how products are written.
    """

    row: Mapping[str, Any]
    columns: Columns
    attributes: AttributeFormat

    @property
    def fields(self) -> FieldReader:
        return FieldReader(self.row, self.columns.names, self.columns.defaults)

    @property
    def language(self) -> str:
        own = FieldReader(self.row, self.columns.names, {})
        code = own.text("language") or own.text("lang") or self.fields.text("language")
        return language_code(code) if code else NO_LANGUAGE

    def found(self, field: str) -> Any:
        """Returns the value of a field, or the columns that begin with its name; None where there is neither."""
        value = self.fields.value(field)
        return self._gathered(self.columns.names.get(field, field)) if value is None else value

    def text(self, field: str) -> str:
        """Returns the text of a field; raises BadRecord where it is missing or empty."""
        return self.text_of(field, self.found(field))

    def text_of(self, field: str, value: Any) -> str:
        """Returns the text of a value; raises BadRecord where there is none."""
        if isinstance(value, Mapping):
            product = inner_product(field, value, self.language, self.columns.names)
            return self.attributes.text(product, np.random.default_rng(0))  # of a run the format is not random
        text = neutralize(scalar_text(field, value)) if value is not None else ""
        if not text:
            raise BadRecord(f"{field} is missing or empty")
        return f"<title> {text}"

    def plain_text(self, field: str) -> str:
        """Returns the text of a field without the token of a title before it; raises BadRecord as `text`."""
        return self.text(field).removeprefix("<title> ")

    def own_text(self, field: str, others: Collection[str]) -> str:
        """Returns the text of `field`, or where the row has none, of the product that the row is, less `others`."""
        if self.found(field) is not None or field in self.columns.names:
            return self.text(field)
        product = self.row
        for other in others:
            if not self._is_attribute(other):
                product = _without(product, self.columns.names.get(other, other))
        return self.text_of(field, product)

    def number(self, field: str) -> float:
        """Returns the number in a field; raises BadRecord where it is none."""
        value = self.fields.value(field)
        if value is None:
            raise BadRecord(f"{field} is missing or empty")
        words = {"true": 1.0, "yes": 1.0, "duplicate": 1.0, "false": 0.0, "no": 0.0, "different": 0.0}
        text = str(value).strip().lower()
        try:
            number = words[text] if text in words else float(text)
        except ValueError:
            raise BadRecord(f"{field} {text[:20]!r} is no number, and no yes or no") from None
        if not np.isfinite(number):
            raise BadRecord(f"{field} is {text}")
        return number

    def label(self, field: str) -> str:
        """Returns the label in a field; raises BadRecord where there is none."""
        value = self.fields.value(field)
        whole = isinstance(value, float) and value.is_integer()
        label = scalar_text(field, int(value) if whole else value).strip()
        if not label:
            raise BadRecord(f"{field} is missing or empty")
        return label

    def items(self, field: str) -> list[Any]:
        """Returns the list in a field; raises BadRecord where it is none."""
        value = self.fields.value(field)
        if not isinstance(value, (list, tuple)):
            raise BadRecord(f"{field} is {type_name(value)}, a list is needed")
        return list(value)

    def has(self, field: str) -> bool:
        """Whether the row has a column for a field."""
        column = self.columns.names.get(field, field)
        is_there = column_value(self.row, column, _ABSENT) is not _ABSENT or field in self.columns.defaults
        return is_there or self._gathered(column) is not None

    def weight(self) -> float:
        """Returns the row's weight, 1 where it has none; raises BadRecord for one below 0."""
        if self._is_attribute("weight") or self.fields.value("weight") is None:
            return 1.0
        weight = self.number("weight")
        if weight < 0:
            raise BadRecord(f"weight is {weight}, 0 or more is needed")
        return weight

    def group(self) -> str:
        """Returns what the row's example shares with others of one thing; "" where nothing says so."""
        value = None if self._is_attribute("group") else self.fields.value("group")
        return "" if value is None else scalar_text("group", value)

    def _is_attribute(self, field: str) -> bool:
        """Whether a weight or group is of the product that the row itself is, as it was not named as the example's."""
        named = field in self.columns.names or field in self.columns.defaults
        return field in ("weight", "group") and not named and self.columns.names.get("title", "title") in self.row

    def _gathered(self, name: str) -> Mapping[str, Any] | None:
        start = f"{name}_"
        found = {column.removeprefix(start): value for column, value in self.row.items() if column.startswith(start)}
        return found or None


def _without(row: Mapping[str, Any], column: str) -> Mapping[str, Any]:
    """Returns a row less a column, or a nested column `a/b`."""
    if column in row:
        return {name: value for name, value in row.items() if name != column}
    name, _, inner = column.partition("/")
    nested = row.get(name)
    return {**row, name: _without(nested, inner)} if isinstance(nested, Mapping) else row


class Reading(Protocol):
    """What rows hold: the fields that may be mapped, of which those that are required (or one of several), and how an
    example is made of a row and its location, which raises BadRecord."""

    @property
    def fields(self) -> tuple[str, ...]: ...

    @property
    def required(self) -> tuple[tuple[str, ...], ...]: ...

    def example(self, row: RowReader, location: str) -> Example: ...


def read_examples(
    sources: Sequence[str], reading: "Reading", columns: Columns, attributes: AttributeFormat, rejected: Path
) -> list[Example]:
    """Returns the examples of files, in order.

    Args:
        sources: paths or globs of one set of examples.
        reading: what the rows hold.
        columns: of the fields.
        attributes: how products are written.
        rejected: where bad rows are written down.

    Raises:
        UserError: a column is missing, a field is unknown, more than 1% of the rows are bad, or none is good.
    """
    allowed = (*reading.fields, *COMMON_FIELDS, *INNER_FIELDS)
    for field in (*columns.names, *columns.defaults):
        if field not in allowed:
            raise unknown_name("field of these examples", field, allowed)
    examples = []
    with RejectLog(rejected) as rejects:
        files = (read_rows(path, on_bad=rejects.reject) for path in expand_source(sources))
        for location, row in itertools.chain.from_iterable(
            _with_fields(rows, reading, columns, attributes) for rows in files
        ):
            try:
                example = reading.example(RowReader(row, columns, attributes), location)
            except BadRecord as error:
                rejects.reject(location, str(error))
            else:
                rejects.accept()
                examples.append(example)
    if not examples:
        raise UserError(f"{', '.join(sources)} holds no example")
    return examples


def _with_fields(
    rows: Iterator[Row], reading: "Reading", columns: Columns, attributes: AttributeFormat
) -> Iterator[Row]:
    """Yields a file's rows; raises UserError where none of the first ones has a field that is required or mapped."""
    first = list(itertools.islice(rows, _FIRST_ROWS))
    there = list(dict.fromkeys(name for _, row in first for name in row))

    def lacks(names: Sequence[str]) -> bool:
        return not any(RowReader(row, columns, attributes).has(name) for _, row in first for name in names)

    for field, column in columns.names.items():
        if first and field not in INNER_FIELDS and lacks([field]):
            hint = str(unknown_name("column", column, there)).partition("; ")[2]
            raise UserError(f"{first[0][0]} has no column {column!r}; {hint}")
    for alternatives in reading.required:
        if first and lacks(alternatives):
            raise UserError(
                f"{first[0][0]}: no column {' or '.join(map(repr, alternatives))}; name it with --column "
                f"{alternatives[0]}=COLUMN; the columns are: {', '.join(map(str, there))}"
            )
    yield from first
    yield from rows
