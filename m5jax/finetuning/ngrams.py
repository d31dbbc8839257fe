"""Ids of a text's n-grams: words, pairs of words, and trigrams of characters (Nigam et al., arXiv 1907.00937, section
3.2), the frequent ones of the training texts by their number, the others by a hash."""

import collections
import dataclasses
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from m5jax.data.serialize import plain_text
from m5jax.errors import UserError, check_least
from m5jax.files import write_whole
from m5jax.models import NgramEncoderConfig

_WORD = re.compile(r"\w+")
KINDS = ("word", "bigram", "trigram")


@dataclasses.dataclass(frozen=True)
class HashedNgrams:
    """A model of n-grams to be counted in the training texts; it has no pre-trained parameters.

    Attributes:
        width: size of an embedding.
        most: known n-grams of each kind.
        buckets: that the others are hashed to.
        dropout_rate: of the entries of embeddings.
    """

    width: int = 256
    most: int = 100_000
    buckets: int = 50_000
    dropout_rate: float = 0.0

    def __post_init__(self) -> None:
        check_least(self, width=1, most=1, buckets=1)

    def config(self, ngrams: "Ngrams", length: int) -> NgramEncoderConfig:
        """Returns the config of the encoder of these n-grams."""
        return NgramEncoderConfig(
            vocab_size=ngrams.size, width=self.width, max_length=length, dropout_rate=self.dropout_rate
        )


@dataclasses.dataclass(frozen=True)
class Ngrams:
    """A numbering of n-grams: 0 is padding, then the known ones, then buckets of all others.

    Attributes:
        known: the frequent n-grams, kind by kind, of each the most frequent first.
        buckets: that others are hashed to.
    """

    known: tuple[str, ...]
    buckets: int = 10_000

    def __post_init__(self) -> None:
        check_least(self, buckets=1)
        object.__setattr__(self, "_numbers", {ngram: number for number, ngram in enumerate(self.known, start=1)})

    @property
    def size(self) -> int:
        """Number of ids."""
        return 1 + len(self.known) + self.buckets

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text's n-grams, words first."""
        numbers: dict[str, int] = self._numbers  # type: ignore[attr-defined]
        return [[numbers.get(ngram) or self._hashed(ngram) for ngram in text_ngrams(text)] for text in texts]

    def _hashed(self, ngram: str) -> int:
        digest = hashlib.blake2b(ngram.encode("utf-8"), digest_size=8).digest()
        return 1 + len(self.known) + int.from_bytes(digest, "little") % self.buckets

    def save(self, path: Path) -> None:
        """Writes the numbering; raises UserError where that fails."""
        write_whole(path, json.dumps(dataclasses.asdict(self), ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Ngrams":
        """Reads a numbering; raises UserError where there is none."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(tuple(map(str, values["known"])), int(values["buckets"]))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} holds no n-grams ({error}); m5jax finetune writes them") from error


def count_ngrams(texts: Iterable[str], most: int, buckets: int) -> Ngrams:
    """Returns a numbering in which the `most` frequent n-grams of each kind are known."""
    counts: dict[str, collections.Counter[str]] = {kind: collections.Counter() for kind in KINDS}
    for text in texts:
        for ngram in text_ngrams(text):
            counts[ngram.partition(":")[0]][ngram] += 1
    known = [
        ngram
        for kind in KINDS
        for ngram, _ in sorted(counts[kind].items(), key=lambda item: (-item[1], item[0]))[:most]
    ]
    return Ngrams(tuple(known), buckets)


def text_ngrams(text: str) -> Iterator[str]:
    """Yields `word:w`, `bigram:v w` and `trigram:xyz` of a text, case, punctuation and field tokens aside; of the
    trigrams, those of each word between `#`."""
    words = _WORD.findall(unicodedata.normalize("NFKC", plain_text(text)).casefold())
    for word in words:
        yield f"word:{word}"
    for left, right in zip(words, words[1:], strict=False):
        yield f"bigram:{left} {right}"
    for word in words:
        marked = f"#{word}#"
        for start in range(len(marked) - 2):
            yield f"trigram:{marked[start : start + 3]}"
