"""How a record becomes the text that the model reads; training and embedding share these functions.

Reserved symbols (the field tokens below, and `<mask>`, `</s>`, `<extra_id_0>`, ...) all start with "<". A space after
every "<" of a value keeps catalog text from ever spelling one, also after the vocabulary's NFKC normalization, which
maps the two look-alikes of "<" to it and removes characters that could hide in between.
"""

import re
from collections.abc import Iterable

from m5jax.data.records import (
    RECORDS,
    JudgementRecord,
    PairRecord,
    ProductRecord,
    RecordKind,
    SessionRecord,
    TextRecord,
    UtteranceRecord,
)

FIELD_TOKENS = (
    "<title>",
    "<description>",
    "<bullet>",
    "<attribute>",
    "<value>",
    "<category>",
    "<query>",
    "<review>",
    "<seller>",
    "<locale>",
)

ATTRIBUTE_TOKEN, VALUE_TOKEN = "<attribute>", "<value>"
# A field token, or "" for none, and the text after it.
Part = tuple[str, str]

# "<" and the two characters that NFKC maps to it: small less-than sign, fullwidth less-than sign.
_LESS_THAN = re.compile("[<\ufe64\uff1c]")
# After a "<" of a value stands a space.
_FIELD_TOKEN = re.compile(r"<(?! )[^<>]*>")


def neutralize(value: str) -> str:
    """Returns `value` with runs of white space as one space and no reserved symbol left in it."""
    return " ".join(_LESS_THAN.sub("< ", value).split())


def plain_text(text: str) -> str:
    """Returns a text as models read it without its field tokens, for what does not know them."""
    return " ".join(_FIELD_TOKEN.sub(" ", text).split())


def serialize_product(record: ProductRecord) -> str:
    """Returns `<title> ..<attribute> name<value> value..<bullet> ..<description> ..<category> ..`.

    Empty fields are left out; locale, language and id are not part of the text. No space stands before a field token:
    SentencePiece would make a token of its own of it.
    """
    attributes: list[Part] = []
    for name, value in record.attributes.items():
        if value.strip():
            attributes += [(ATTRIBUTE_TOKEN, name), (VALUE_TOKEN, value)]
    return join_parts(product_parts(record, attributes))


def product_parts(record: ProductRecord, attributes: Iterable[Part]) -> list[Part]:
    """Returns the fields of a product in their order, with its attributes as `attributes`."""
    return [
        ("<title>", record.title),
        *attributes,
        *(("<bullet>", bullet) for bullet in record.bullets),
        ("<description>", record.description),
        ("<category>", record.category),
    ]


def join_parts(parts: Iterable[Part]) -> str:
    """Returns the text of tokens and values, neutralized; a value without a token goes on with what precedes it."""
    cleaned = ((token, neutralize(value)) for token, value in parts)
    return "".join(f"{token} {value}" for token, value in cleaned if value)


def serialize_text(record: TextRecord) -> str:
    """Returns the text of a plain text record, neutralized."""
    return neutralize(record.text)


def serialize_line(kind: RecordKind, line: str | bytes) -> str:
    """Returns the text that the model reads for one canonical line of a corpus."""
    record = RECORDS[kind].from_json(line)
    match record:
        case ProductRecord():
            return serialize_product(record)
        case TextRecord():
            return serialize_text(record)
        case PairRecord():
            return serialize_product(record.left) + serialize_product(record.right)
        case JudgementRecord():
            return join_parts([("<query>", record.query)]) + serialize_product(record.product)
        case SessionRecord():
            return join_parts([("<query>", query) for query in record.queries])
        case UtteranceRecord():
            return join_parts([("<query>", " ".join(record.tokens))])
