"""How a product's name/value pairs become model input."""

import collections
import dataclasses
import json
from collections.abc import Mapping

import numpy as np

from m5jax.data.corpus import Corpus
from m5jax.data.records import ProductRecord
from m5jax.data.serialize import ATTRIBUTE_TOKEN, VALUE_TOKEN, Part, neutralize
from m5jax.data.vocabulary import SPARE_TOKENS
from m5jax.errors import UserError, unknown_name

STYLES = ("separators", "plain", "names")


@dataclasses.dataclass(frozen=True)
class AttributeFormat:
    """How attributes are written.

    Attributes:
        style: "separators": `<attribute> color<value> red`; "plain": `color red` as ordinary text; "names": a token of
            its own for each frequent name, `<field_3> red`, and separators for the others.
        shuffled: in a new random order each time, not as they stand in the record.
        dropout: chance of each attribute to be left out.
        min_count: products that a name must occur in to have a token of its own; at most as many names as there are
            spare tokens have one, the most frequent first.
        names: of the style "names": the k-th has the token `<field_k>`; see `for_corpus`.

    Raises:
        UserError: the style is unknown, the dropout not from 0 to below 1, or there are more names than spare tokens.
    """

    style: str = "separators"
    shuffled: bool = False
    dropout: float = 0.0
    min_count: int = 20
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise unknown_name("style of attributes", self.style, STYLES)
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"AttributeFormat.dropout = {self.dropout}; allowed: 0 up to, not including, 1")
        if len(self.names) > len(SPARE_TOKENS):
            raise UserError(f"{len(self.names)} attribute names have tokens; there are {len(SPARE_TOKENS)}")

    @property
    def is_random(self) -> bool:
        return self.shuffled or self.dropout > 0.0

    def for_corpus(self, corpus: Corpus) -> "AttributeFormat":
        """Returns the format with the names that are frequent in the training split of `corpus`."""
        if self.style != "names":
            return self
        return dataclasses.replace(self, names=frequent_names(corpus, self.min_count, len(SPARE_TOKENS)))

    def parts(self, attributes: Mapping[str, str], generator: np.random.Generator) -> list[Part]:
        """Returns tokens and texts in order; "" is no token. `generator` is drawn from only if the format is random."""
        pairs = [(name, value) for name, value in attributes.items() if neutralize(value)]
        if self.shuffled:
            pairs = [pairs[index] for index in generator.permutation(len(pairs))]
        if self.dropout:
            pairs = [pair for pair in pairs if generator.random() >= self.dropout]
        parts: list[Part] = []
        for name, value in pairs:
            if self.style == "plain":
                parts.append(("", f"{name} {value}"))
            elif name in self.names:
                parts.append((SPARE_TOKENS[self.names.index(name)], value))
            else:
                parts += [(ATTRIBUTE_TOKEN, name), (VALUE_TOKEN, value)]
        return parts


SEPARATORS = AttributeFormat()


def frequent_names(corpus: Corpus, min_count: int, most: int) -> tuple[str, ...]:
    """Returns the names of attributes in at least `min_count` training products, the most frequent first.

    Counted once a corpus, and kept beside it.
    """
    corpus.check_kind("product")
    path = corpus.directory / "attribute_names.json"
    if not path.is_file():
        counts = collections.Counter(
            name
            for language in corpus.languages
            if corpus.count(language, "train")
            for record in corpus.records(language, "train")
            if isinstance(record, ProductRecord)
            for name in record.attributes
        )
        partial = path.with_suffix(".partial")
        try:
            partial.write_text(json.dumps(counts, ensure_ascii=False), encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    counts = json.loads(path.read_text(encoding="utf-8"))
    frequent = [name for name, count in counts.items() if count >= min_count]
    return tuple(sorted(frequent, key=lambda name: (-counts[name], name))[:most])
