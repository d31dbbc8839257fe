"""Labelled pairs from a catalog without labels: what to fine-tune on before there are, or beside, a handful of labels.

A pair that fits is two views of one product: words left out, moved or misspelt, fields left out (as Sudowoodo's, arXiv
2207.04122, section 4). One that does not is a view of a product and one of another that shares words with it (BM25), or
a view of the product itself in which its rarest words are another's: a size, a color, the number of a model. Of similar
products only those count that differ in words with digits, as offers of one product may be several in a catalog.
"""

import dataclasses
import json
import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from m5jax.data.catalog_records import ProductRecord
from m5jax.errors import UserError, check_below_one
from m5jax.retrieval.bm25 import BM25

logger = logging.getLogger(__name__)

NEIGHBORS = 16  # among which a product that does not fit is drawn
_RAREST = 3  # words of a title of which one or two are replaced


@dataclasses.dataclass(frozen=True)
class SelfLabelling:
    """How pairs are made.

    Attributes:
      fitting: share of pairs that fit.
      replaced: of those that do not, the share whose product is the same but for its rarest words.
      word_dropout: chance of a word to be left out of a view.
      word_swap: chance of a word to change places with the next.
      misspelling: chance of a word to lose, or repeat, a character.
      field_dropout: chance of a field that is not the title to be left out.
    """

    fitting: float = 0.3
    replaced: float = 0.3
    word_dropout: float = 0.15
    word_swap: float = 0.1
    misspelling: float = 0.03
    field_dropout: float = 0.3

    def __post_init__(self) -> None:
        check_below_one(self, *(field.name for field in dataclasses.fields(self)))


def write_pairs(
    products: Sequence[ProductRecord], output: Path, count: int, settings: SelfLabelling, seed: int = 0
) -> Counter[str]:
    """Writes `count` pairs, fewer where no other product differs, as JSON lines with `left`, `right` and `label`, and
    returns how many of each kind there are.

    Args:
      products: two or more, of one language or several.
      output: must not exist.
      count: of pairs.
      settings: how they are made.
      seed: the same one, the same pairs.

    Raises:
      UserError: there are too few products, or the output exists or cannot be written.
    """
    if output.exists():
        raise UserError(f"{output} exists; remove it or choose another --output")
    if len(products) < 2:
        raise UserError(f"{len(products)} product does not make pairs; two or more are needed")
    kinds: Counter[str] = Counter()
    partial = output.with_name(f".{output.name}.partial")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            for kind, left, right in make_pairs(products, count, settings, seed):
                kinds[kind] += 1
                row = {"left": left, "right": right, "label": int(kind == "same"), "kind": kind}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        partial.replace(output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return kinds


def make_pairs(
    products: Sequence[ProductRecord], count: int, settings: SelfLabelling, seed: int
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yields the kind ("same", "similar", "replaced" or "random") and both sides of each pair."""
    generator = np.random.default_rng(seed)
    titles = [product.title or " ".join(product.attributes.values()) for product in products]
    frequencies = Counter(word for title in titles for word in set(title.lower().split()))
    chosen = [
        int(index) for _ in range(math.ceil(count / len(products))) for index in generator.permutation(len(products))
    ]
    chosen = chosen[:count]
    distinct = sorted(set(chosen))
    ranking = BM25(titles).search([titles[index] for index in distinct], NEIGHBORS + 1)
    neighbors = dict(zip(distinct, ranking.indices, strict=True))
    for index in tqdm(chosen, desc="making pairs", unit=" pairs", unit_scale=True, disable=None):
        product = products[index]
        left = _view(product, settings, generator)
        if generator.random() < settings.fitting:
            yield "same", left, _view(product, settings, generator)
            continue
        similar = [
            int(other)
            for other in neighbors[index]
            if other >= 0 and other != index and differ(titles[index], titles[int(other)])
        ]
        if similar and generator.random() < settings.replaced:
            other = titles[similar[int(generator.integers(len(similar)))]]
            changed = _with_words_of(titles[index], other, frequencies, generator)
            if changed != titles[index]:
                replaced = dataclasses.replace(product, title=changed, attributes={}, description="")
                yield "replaced", left, _view(replaced, settings, generator)
                continue
        kind = "similar" if similar else "random"
        pool = similar or [
            other for other in generator.integers(len(products), size=4) if titles[other] != titles[index]
        ]
        if pool:
            yield kind, left, _view(products[int(pool[int(generator.integers(len(pool)))])], settings, generator)


def differ(title: str, other: str) -> bool:
    """Whether two titles are taken for those of different products: each has a word with a digit that the other lacks,
    or, where one has none, they share less than half of their words."""
    one, two = (set(text.lower().split()) for text in (title, other))
    numbers, others = ({word for word in words if any(map(str.isdigit, word))} for words in (one, two))
    if numbers and others:
        return bool(numbers - others) and bool(others - numbers)
    return len(one & two) < 0.5 * min(len(one), len(two))


def _with_words_of(title: str, other: str, frequencies: Counter[str], generator: np.random.Generator) -> str:
    """Returns a title in which one or two of its rarest words are rare ones of another title."""
    words, known = title.split(), {word.lower() for word in title.split()}
    rare = sorted(range(len(words)), key=lambda place: frequencies[words[place].lower()])[:_RAREST]
    new = sorted(
        (word for word in other.split() if word.lower() not in known), key=lambda word: frequencies[word.lower()]
    )
    for place in generator.permutation(rare)[: int(generator.integers(1, 3))]:
        if new:
            words[place] = new.pop(0)
    return " ".join(words)


def _view(product: ProductRecord, settings: SelfLabelling, generator: np.random.Generator) -> dict[str, Any]:
    """Returns a side of a pair: a product seen elsewhere."""
    kept = {
        name: _noisy(value, settings, generator)
        for name, value in product.attributes.items()
        if generator.random() >= settings.field_dropout
    }
    side: dict[str, Any] = {"title": _noisy(product.title, settings, generator), "attributes": kept}
    if product.description and generator.random() >= settings.field_dropout:
        side["description"] = _noisy(product.description, settings, generator)
    return side


def _noisy(text: str, settings: SelfLabelling, generator: np.random.Generator) -> str:
    words = text.split()
    kept = [word for word in words if generator.random() >= settings.word_dropout] or words[:1]
    for place in range(len(kept) - 1):
        if generator.random() < settings.word_swap:
            kept[place], kept[place + 1] = kept[place + 1], kept[place]
    return " ".join(_misspelt(word, generator) if generator.random() < settings.misspelling else word for word in kept)


def _misspelt(word: str, generator: np.random.Generator) -> str:
    # A word with a digit is a size or a model's number: another one then.
    if len(word) < 4 or any(map(str.isdigit, word)):
        return word
    place = int(generator.integers(len(word)))
    return word[:place] + (word[place] * 2 if generator.random() < 0.5 else "") + word[place + 1 :]
