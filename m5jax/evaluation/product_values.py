"""Values of products hidden, one at a time, in whatever format a model reads attributes: plain text, too."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from m5jax.data.attributes import AttributeFormat, number_locale
from m5jax.data.records import ProductRecord
from m5jax.data.serialize import join_parts, neutralize, product_parts, serialize_product
from m5jax.data.vocabulary import EOS_ID, Vocabulary
from m5jax.evaluation.cloze import Blank, Cloze, hide
from m5jax.evaluation.masked_values import Value, occurs


class ProductValues(NamedTuple):
    """Finds the values of products by their records.

    Attributes:
        vocabulary: of the texts.
        attributes: how they are written; nothing random.
        length: of rows, in tokens: a longer product is cut, and what is cut off is not asked for.
    """

    vocabulary: Vocabulary
    attributes: AttributeFormat
    length: int

    def clozes(self, record: ProductRecord) -> Iterator[Cloze]:
        """Yields, for each value of a product, its text without it. Units are the same in every format, and so is the
        place of a value: its attribute's in the record, from 0."""
        text, values = self.read(record)
        unit = hashlib.blake2b(serialize_product(record).encode("utf-8"), digest_size=8).hexdigest()
        for value in values:
            rest = self.vocabulary.decode(np.delete(text, value.positions).tolist())
            blank = Blank("value", value.place, value.positions, value.attribute, occurs(value.text, rest))
            yield Cloze(unit, hide(text, value.positions), (blank,))

    def read(self, record: ProductRecord) -> tuple[np.ndarray, list[Value]]:
        """Returns the tokens of a product, int32 [at most `length`], and its values that are whole in them.

        A value of which a token is shared with what stands before or after it is left out: there are none with
        vocabularies of `m5jax vocabulary train`, whose pieces go over no space.
        """
        pairs = [(name, value) for name, value in record.attributes.items() if neutralize(value)]
        written = [self.attributes.pair_parts(name, value, number_locale(record)) for name, value in pairs]
        parts = product_parts(record, [part for own in written for part in own])
        text = self._encode(join_parts(parts))
        values = []
        last = 0  # the title is the first part
        for place, ((name, _), own) in enumerate(zip(pairs, written, strict=True)):
            last += len(own)
            token, value = parts[last]
            before, through = (
                self._encode(join_parts(parts[:end]) + sign) for end, sign in ((last, token), (last + 1, ""))
            )
            if text[: len(before)] == before and text[: len(through)] == through and len(through) <= self.length:
                values.append(Value(name, neutralize(value), place, np.arange(len(before), len(through))))
        return np.array([*text, EOS_ID][: self.length], np.int32), values

    def _encode(self, text: str) -> list[int]:
        return self.vocabulary.encode([text])[0]
