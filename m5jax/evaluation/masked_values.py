"""Values of attributes hidden, one at a time: a product without its color, with everything else."""

import collections
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from m5jax.data.attributes import NAME_TOKENS
from m5jax.data.mask_tokens import Tokens
from m5jax.data.serialize import ATTRIBUTE_TOKEN
from m5jax.data.vocabulary import FIRST_TEXT_ID, RESERVED_PIECES, VALUE_IDS, Vocabulary
from m5jax.evaluation.cloze import Blank, Cloze, hide, text_key

_ATTRIBUTE_ID = RESERVED_PIECES.index(ATTRIBUTE_TOKEN)


class Value(NamedTuple):
    """A value of a product as it is read: the attribute's name, the value's text, which value of the product it is,
    from 0, and where its tokens stand, int64 [pieces]."""

    attribute: str
    text: str
    place: int
    positions: np.ndarray


class Values:
    """Finds the values of serialized products.

    Args:
        vocabulary: of the texts.
        names: of the attributes whose names are tokens, in the order of these; see `AttributeFormat.names`.
    """

    def __init__(self, vocabulary: Vocabulary, names: Sequence[str] = ()) -> None:
        self._vocabulary = vocabulary
        self._names = dict(zip((RESERVED_PIECES.index(token) for token in NAME_TOKENS), names, strict=False))

    def of(self, text: Tokens) -> list[Value]:
        """Returns the values in a text, int32 [n], in order, but for one that was cut off at its end."""
        bounds = np.flatnonzero(text < FIRST_TEXT_ID)
        fields = [(int(text[start]), np.arange(start + 1, stop)) for start, stop in itertools.pairwise(bounds)]
        values: list[Value] = []
        before = (0, np.zeros(0, np.int64))
        for field in fields:
            token, positions = field
            if token in VALUE_IDS and (written := self._text(text[positions])):
                attribute = self._text(text[before[1]]) if before[0] == _ATTRIBUTE_ID else self._name(token)
                values.append(Value(attribute, written, len(values), positions))
            before = field
        return values

    def clozes(self, text: Tokens) -> Iterator[Cloze]:
        """Yields, for each value of a text, the text without it."""
        key = text_key(text, self._vocabulary)
        for value in self.of(text):
            rest = self._vocabulary.decode(np.delete(text, value.positions).tolist())
            blank = Blank("value", value.place, value.positions, value.attribute, occurs(value.text, rest))
            yield Cloze(key, hide(text, value.positions), (blank,))

    def most_frequent(self, texts: Iterable[Tokens]) -> dict[str, str]:
        """Returns the most frequent value of each attribute in texts, see `most_frequent_values`."""
        return most_frequent_values((value.attribute, value.text) for text in texts for value in self.of(text))

    def _text(self, tokens: Tokens) -> str:
        return self._vocabulary.decode(tokens.tolist()).strip()

    def _name(self, token: int) -> str:
        return self._names.get(token, RESERVED_PIECES[token])


def most_frequent_values(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Returns the most frequent value of each attribute; of equally frequent ones the first by code points."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for attribute, value in pairs:
        counts[attribute][value] += 1
    return {name: min((-count, value) for value, count in own.items())[1] for name, own in counts.items()}


def occurs(value: str, text: str) -> bool:
    """Returns whether a value stands in a text, whatever its case, and not within a longer word or number.

    In scripts without case, which write words together or join others to them, within a word too.
    """
    value, text = value.casefold(), text.casefold()
    start = text.find(value)
    while value and start >= 0:
        stop = start + len(value)
        if not (_joined(text[start - 1 : start], value[0]) or _joined(value[-1], text[stop : stop + 1])):
            return True
        start = text.find(value, start + 1)
    return False


def _joined(before: str, after: str) -> bool:
    return all(letter.isdigit() or letter.upper() != letter.lower() for letter in (before, after))
