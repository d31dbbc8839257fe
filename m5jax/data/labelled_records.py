"""Labelled rows: what models are fine-tuned on, alone or beside pre-training."""

import dataclasses
import json
from typing import Any, ClassVar

from m5jax.data.catalog_records import INNER_FIELDS, ProductRecord, inner_product
from m5jax.data.field_reader import BadRecord, FieldReader, checked_text, language_code, scalar_text, type_name

DIFFERENT, DUPLICATE = "different", "duplicate"
_PAIR_LABELS = {
    **dict.fromkeys(("0", "false", "no", DIFFERENT), DIFFERENT),
    **dict.fromkeys(("1", "true", "yes", DUPLICATE), DUPLICATE),
}


class _Json:
    """Canonical lines: every key always present, in the order of the fields, without a line end."""

    def to_json(self) -> str:
        values = dataclasses.asdict(self)  # type: ignore[call-overload]
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


@dataclasses.dataclass(frozen=True)
class PairRecord(_Json):
    """Two products, and whether they are "duplicate" or "different"."""

    fields: ClassVar = ("language", "left", "right", "label", *INNER_FIELDS)
    required: ClassVar = ("language", "left", "right", "label")

    language: str
    left: ProductRecord
    right: ProductRecord
    label: str

    @property
    def split_key(self) -> str:
        return self.to_json()

    @classmethod
    def from_json(cls, line: str | bytes) -> "PairRecord":
        """Reads a canonical line."""
        values = json.loads(line)
        left, right = (ProductRecord.from_values(values[side]) for side in ("left", "right"))
        return cls(values["language"], left, right, values["label"])

    @classmethod
    def parse(cls, get: FieldReader) -> "PairRecord":
        """Reads a row; raises BadRecord. A label may be 0 or 1."""
        language = language_code(get.text("language", required=True))
        label = _label(get).lower()
        if label not in _PAIR_LABELS:
            raise BadRecord(f"label {label[:20]!r} is none of {', '.join(_PAIR_LABELS)}")
        left, right = (inner_product(side, get.value(side), language, get.column_mapping) for side in ("left", "right"))
        return cls(language, left, right, _PAIR_LABELS[label])


@dataclasses.dataclass(frozen=True)
class JudgementRecord(_Json):
    """A product shown for a query, and a judgement: a grade of relevance, or what a user did."""

    fields: ClassVar = ("language", "query", "product", "label", *INNER_FIELDS)
    required: ClassVar = ("language", "query", "product", "label")

    language: str
    query: str
    product: ProductRecord
    label: str

    @property
    def split_key(self) -> str:
        return self.query

    @classmethod
    def from_json(cls, line: str | bytes) -> "JudgementRecord":
        """Reads a canonical line."""
        values = json.loads(line)
        return cls(**{**values, "product": ProductRecord.from_values(values["product"])})

    @classmethod
    def parse(cls, get: FieldReader) -> "JudgementRecord":
        """Reads a row; raises BadRecord."""
        language = language_code(get.text("language", required=True))
        label = _label(get)
        if not label:
            raise BadRecord("label is missing or empty")
        product = inner_product("product", get.value("product"), language, get.column_mapping)
        return cls(language, get.text("query", required=True), product, label)


@dataclasses.dataclass(frozen=True)
class SessionRecord(_Json):
    """The queries of one user in the order of time, two or more."""

    fields: ClassVar = ("language", "queries")
    required: ClassVar = fields

    language: str
    queries: tuple[str, ...]

    @property
    def split_key(self) -> str:
        return self.to_json()

    @classmethod
    def from_json(cls, line: str | bytes) -> "SessionRecord":
        """Reads a canonical line."""
        values = json.loads(line)
        return cls(values["language"], tuple(values["queries"]))

    @classmethod
    def parse(cls, get: FieldReader) -> "SessionRecord":
        """Reads a row; raises BadRecord."""
        queries = _texts("queries", get.value("queries"))
        if len(queries) < 2:
            raise BadRecord(f"queries has {len(queries)} item, two or more are needed")
        return cls(language_code(get.text("language", required=True)), queries)


@dataclasses.dataclass(frozen=True)
class UtteranceRecord(_Json):
    """A request in words, the slot of each word in BIO form ("O", "B-color", "I-color"), and its intent."""

    fields: ClassVar = ("language", "tokens", "tags", "intent")
    required: ClassVar = fields

    language: str
    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    intent: str

    @property
    def split_key(self) -> str:
        return " ".join(self.tokens)

    @classmethod
    def from_json(cls, line: str | bytes) -> "UtteranceRecord":
        """Reads a canonical line."""
        values = json.loads(line)
        return cls(values["language"], tuple(values["tokens"]), tuple(values["tags"]), values["intent"])

    @classmethod
    def parse(cls, get: FieldReader) -> "UtteranceRecord":
        """Reads a row; raises BadRecord."""
        tokens, tags = _texts("tokens", get.value("tokens")), _texts("tags", get.value("tags"))
        if not tokens or len(tokens) != len(tags):
            raise BadRecord(f"there are {len(tokens)} tokens and {len(tags)} tags; one of each a word is needed")
        for tag in tags:
            if tag != "O" and not tag.startswith(("B-", "I-")):
                raise BadRecord(f"tag {tag[:20]!r} is not O, B-SLOT or I-SLOT")
        language = language_code(get.text("language", required=True))
        return cls(language, tokens, tags, get.text("intent", required=True))


def _label(get: FieldReader) -> str:
    value = get.value("label")
    # Whole numbers come as 1.0 from columns of Parquet and pandas with an empty cell.
    whole = isinstance(value, float) and value.is_integer()
    return scalar_text("label", int(value) if whole else value).strip()


def _texts(field: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise BadRecord(f"{field} is {type_name(value)}, a list of strings is needed")
    return tuple(checked_text(f"an item of {field}", item, required=True) for item in value)
