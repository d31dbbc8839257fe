"""Text-to-text tasks on a product: what the model reads and what it is to write."""

from collections.abc import Callable
from typing import Any

from m5jax.data.records import ProductRecord
from m5jax.data.serialize import ATTRIBUTE_TOKEN, VALUE_TOKEN, Part, join_parts, product_parts

MakePair = Callable[[Any], tuple[str, str] | None]


def infill_attributes(record: ProductRecord) -> tuple[str, str] | None:
    """From title, bullets, description and category to the attributes: `<attribute> color<value> red`."""
    targets = join_parts(attribute_parts(record))
    return (join_parts(product_parts(record, [])), targets) if targets else None


def title_from_attributes(record: ProductRecord) -> tuple[str, str] | None:
    """From attributes and category to the title."""
    inputs = join_parts([*attribute_parts(record), ("<category>", record.category)])
    return (inputs, join_parts([("<title>", record.title)])) if inputs else None


def attribute_parts(record: ProductRecord) -> list[Part]:
    """Returns `<attribute> name<value> value` of each attribute."""
    return [
        part
        for name, value in record.attributes.items()
        if value.strip()
        for part in ((ATTRIBUTE_TOKEN, name), (VALUE_TOKEN, value))
    ]
