"""Products and texts: what models are pre-trained on."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from m5jax.data.field_reader import (
    BadRecord,
    FieldReader,
    checked_text,
    column_value,
    language_code,
    parse_attributes,
    parse_bullets,
    scalar_text,
    type_name,
)


@dataclasses.dataclass(frozen=True)
class ProductRecord:
    """One product in one locale. `attributes` keeps the order of the input."""

    fields: ClassVar = ("id", "locale", "language", "title", "description", "bullets", "attributes", "category")
    required: ClassVar = ("id", "language", "title")

    id: str
    locale: str
    language: str
    title: str
    description: str = ""
    bullets: tuple[str, ...] = ()
    attributes: dict[str, str] = dataclasses.field(default_factory=dict)
    category: str = ""

    @property
    def split_key(self) -> str:
        return self.id

    def to_json(self) -> str:
        """Returns the canonical line: every key always present, in the order of the fields, without a line end."""
        return json.dumps(vars(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str | bytes) -> "ProductRecord":
        """Reads a canonical line."""
        return cls.from_values(json.loads(line))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "ProductRecord":
        """Reads what stands in a canonical line."""
        return cls(**{**values, "bullets": tuple(values["bullets"])})

    @classmethod
    def parse(cls, get: FieldReader) -> "ProductRecord":
        """Reads a row; raises BadRecord. A product without a locale takes its language as locale."""
        identifier = get.value("id")
        if isinstance(identifier, int) and not isinstance(identifier, bool):
            identifier = str(identifier)
        language = language_code(get.text("language", required=True))
        return cls(
            id=checked_text("id", identifier, required=True),
            locale=get.text("locale") or language,
            language=language,
            title=get.text("title", required=True),
            description=get.text("description"),
            bullets=parse_bullets(get.value("bullets")),
            attributes=parse_attributes(get.value("attributes")),
            category=get.text("category"),
        )


@dataclasses.dataclass(frozen=True)
class TextRecord:
    """One piece of plain text in one language."""

    fields: ClassVar = ("text", "lang")
    required: ClassVar = ("text", "lang")

    text: str
    lang: str

    @property
    def language(self) -> str:
        return self.lang

    @property
    def split_key(self) -> str:
        return self.text

    def to_json(self) -> str:
        """Returns the canonical line, without a line end."""
        return json.dumps(vars(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str | bytes) -> "TextRecord":
        """Reads a canonical line."""
        return cls(**json.loads(line))

    @classmethod
    def parse(cls, get: FieldReader) -> "TextRecord":
        """Reads a row; raises BadRecord."""
        return cls(text=get.text("text", required=True), lang=language_code(get.text("lang", required=True)))


# Of a product within a labelled row; every other column of one without `attributes` is an attribute.
INNER_FIELDS = ("title", "description", "bullets", "attributes", "category")
_NO_ATTRIBUTES = ("id", "locale", "language", "lang", "split")


_ABSENT = object()


def inner_product(field: str, value: Any, language: str, column_mapping: Mapping[str, str]) -> ProductRecord:
    """Returns the product in `field` of a labelled row, a mapping; it needs no id and no title.

    Raises:
        BadRecord: the value is no mapping, it is empty, or a field has the wrong type.
    """
    if not isinstance(value, Mapping):
        raise BadRecord(f"{field} is {type_name(value)}, a product (a mapping) is needed")
    get = FieldReader(value, column_mapping, {})
    attributes = parse_attributes(get.value("attributes"))
    if column_value(value, column_mapping.get("attributes", "attributes"), _ABSENT) is _ABSENT:
        known = {*_NO_ATTRIBUTES, *(column_mapping.get(name, name) for name in INNER_FIELDS)}
        texts = {name: scalar_text(f"{field}/{name}", item) for name, item in value.items() if name not in known}
        attributes = {name: text for name, text in texts.items() if text.strip()}
    product = ProductRecord(
        id=scalar_text(f"{field}/id", value.get("id")),
        locale=language,
        language=language,
        title=get.text("title"),
        description=get.text("description"),
        bullets=parse_bullets(get.value("bullets")),
        attributes=attributes,
        category=get.text("category"),
    )
    if not (product.title.strip() or product.attributes or product.description.strip()):
        raise BadRecord(f"{field} has no title, description or attribute")
    return product
