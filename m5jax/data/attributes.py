"""How a product's name/value pairs become model input."""

import collections
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np

from m5jax.data.corpus import Corpus
from m5jax.data.kept import kept
from m5jax.data.records import ProductRecord
from m5jax.data.serialize import ATTRIBUTE_TOKEN, VALUE_TOKEN, Part, join_parts, neutralize, product_parts
from m5jax.data.typed_values import enumeration_key, normal_form
from m5jax.data.vocabulary import SPARE_TOKENS
from m5jax.errors import UserError, check_below_one, unknown_name

STYLES = ("separators", "plain", "names", "typed")
# In the place of <value>; the other spare tokens are for names, so that one model may read both styles.
TYPE_TOKENS: Mapping[str, str] = MappingProxyType(
    {"text": VALUE_TOKEN, **dict(zip(("number", "quantity", "boolean", "enumeration"), SPARE_TOKENS[-4:], strict=True))}
)
NAME_TOKENS = SPARE_TOKENS[:-4]
# An attribute with more different values than `_MOST_VALUES` is no enumeration, and neither is one that has more than
# `_MOST_FREQUENT` frequent ones.
_MOST_VALUES, _MOST_FREQUENT = 1_000, 100


@dataclasses.dataclass(frozen=True)
class AttributeFormat:
    """How attributes are written.

    Attributes:
        style: "separators": `<attribute> color<value> red`; "plain": `color red` as ordinary text; "names": a token of
            its own for each frequent name, `<field_3> red`, and separators for the others; "typed": separators, with
            numbers, quantities, booleans and enumerations in their normal form (`m5jax.data.typed_values`) after the
            token of their type: `<attribute> weight<field_25> 1500 g`.
        shuffled: in a new random order each time, not as they stand in the record.
        dropout: chance of each attribute to be left out.
        min_count: products that a name must occur in to have a token of its own, at most as many names as there are
            `NAME_TOKENS`, the most frequent first; or a value of an attribute, to be one of an enumeration's.
        names: of the style "names": the k-th has the token `<field_k>`; see `for_corpus`.
        enumerations: of the style "typed": names of attributes with the values of each.

    Raises:
        UserError: the style is unknown, the dropout not from 0 to below 1, or there are more names than tokens.
    """

    style: str = "separators"
    shuffled: bool = False
    dropout: float = 0.0
    min_count: int = 20
    names: tuple[str, ...] = ()
    enumerations: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise unknown_name("style of attributes", self.style, STYLES)
        check_below_one(self, "dropout")
        if len(self.names) > len(NAME_TOKENS):
            raise UserError(f"{len(self.names)} attribute names have tokens; there are {len(NAME_TOKENS)}")

    @property
    def is_random(self) -> bool:
        return self.shuffled or self.dropout > 0.0

    def for_corpus(self, corpus: Corpus) -> "AttributeFormat":
        """Returns the format with the names, or enumerations, that are frequent in the training split of `corpus`."""
        if self.style == "names":
            return dataclasses.replace(self, names=frequent_names(corpus, self.min_count, len(NAME_TOKENS)))
        if self.style == "typed":
            return dataclasses.replace(self, enumerations=frequent_values(corpus, self.min_count))
        return self

    def text(self, record: ProductRecord, generator: np.random.Generator) -> str:
        """Returns the text of a product with its attributes in this format; see `serialize_product` and `parts`."""
        return join_parts(product_parts(record, self.parts(record.attributes, generator, number_locale(record))))

    def parts(self, attributes: Mapping[str, str], generator: np.random.Generator, locale: str = "en") -> list[Part]:
        """Returns tokens and texts in order; "" is no token. `generator` is drawn from only if the format is random."""
        pairs = [(name, value) for name, value in attributes.items() if neutralize(value)]
        if self.shuffled:
            pairs = [pairs[index] for index in generator.permutation(len(pairs))]
        if self.dropout:
            pairs = [pair for pair in pairs if generator.random() >= self.dropout]
        return [part for name, value in pairs for part in self.pair_parts(name, value, locale)]

    def pair_parts(self, name: str, value: str, locale: str = "en") -> list[Part]:
        """Returns tokens and texts of one attribute, the last of which is the value."""
        if self.style == "plain":
            return [("", name), ("", value)]
        if name in self.names:
            return [(NAME_TOKENS[self.names.index(name)], value)]
        if self.style == "typed":
            kind, value = normal_form(value, locale, self._spellings.get(name))
            return [(ATTRIBUTE_TOKEN, name), (TYPE_TOKENS[kind], value)]
        return [(ATTRIBUTE_TOKEN, name), (VALUE_TOKEN, value)]

    @functools.cached_property
    def _spellings(self) -> dict[str, dict[str, str]]:
        return {name: {enumeration_key(value): value for value in values} for name, values in self.enumerations}


SEPARATORS = AttributeFormat()


def number_locale(record: ProductRecord) -> str:
    """Returns whose customs a record's numbers follow: its locale's, unless that is a market such as "us"."""
    language = record.language.partition("-")[0]
    return record.locale if record.locale.lower().replace("_", "-").partition("-")[0] == language else record.language


def frequent_names(corpus: Corpus, min_count: int, most: int) -> tuple[str, ...]:
    """Returns the names of attributes in at least `min_count` training products, the most frequent first.

    Counted once a corpus, and kept beside it.
    """
    counts = kept(corpus.directory / "attribute_names.json", lambda: _count_names(corpus))
    frequent = [name for name, count in counts.items() if count >= min_count]
    return tuple(sorted(frequent, key=lambda name: (-counts[name], name))[:most])


def frequent_values(corpus: Corpus, min_count: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Returns the attributes that are enumerations, sorted, with their values, the most frequent first.

    These are values in at least `min_count` training products, alike but for case and white space, of an attribute
    with at most 100 such and at most 1,000 different ones, numbers and booleans aside; spelled as most often. Counted
    once a corpus, and kept beside it.
    """
    enumerations = []
    for name, values in sorted(kept(corpus.directory / "attribute_values.json", lambda: _count_values(corpus)).items()):
        frequent = [value for value, count in values if count >= min_count]
        if 0 < len(frequent) <= _MOST_FREQUENT:
            enumerations.append((name, tuple(frequent)))
    return tuple(enumerations)


def _count_names(corpus: Corpus) -> dict[str, int]:
    return collections.Counter(name for record in _training_products(corpus) for name in record.attributes)


def _count_values(corpus: Corpus) -> dict[str, list[tuple[str, int]]]:
    """Returns spelling and count of each value, most frequent first, by attribute; none of one with too many."""
    counts: dict[str, collections.Counter[str]] = {}
    too_many: set[str] = set()
    for record in _training_products(corpus):
        for name, value in record.attributes.items():
            if name in too_many or normal_form(value, number_locale(record))[0] != "text":
                continue
            counts.setdefault(name, collections.Counter())[neutralize(value)] += 1
            if len(counts[name]) > _MOST_VALUES:
                too_many.add(name)
                del counts[name]
    return {name: _by_key(values) for name, values in counts.items()}


def _by_key(spellings: collections.Counter[str]) -> list[tuple[str, int]]:
    """Returns the most frequent spelling of each value with the count of all its spellings, most frequent first."""
    sums: collections.Counter[str] = collections.Counter()
    best: dict[str, str] = {}
    for spelling, count in sorted(spellings.items(), key=lambda item: (-item[1], item[0])):
        sums[enumeration_key(spelling)] += count
        best.setdefault(enumeration_key(spelling), spelling)
    return [(best[key], count) for key, count in sorted(sums.items(), key=lambda item: (-item[1], item[0])) if key]


def _training_products(corpus: Corpus) -> Iterator[ProductRecord]:
    corpus.check_kind("product")
    for language in corpus.languages:
        if corpus.count(language, "train"):
            for record in corpus.records(language, "train"):
                assert isinstance(record, ProductRecord)
                yield record
