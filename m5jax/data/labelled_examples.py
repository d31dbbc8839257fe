"""What a model reads of a labelled record, and what it is to answer.

One function makes an example of a record. From it follow both forms of a task: labels predicted by an encoder at the
words and at the end of what it reads, or a text that is written.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from m5jax.data.catalog_records import ProductRecord
from m5jax.data.labelled_records import JudgementRecord, PairRecord, SessionRecord, UtteranceRecord
from m5jax.data.product_pairs import attribute_parts
from m5jax.data.serialize import Part, join_parts, neutralize, product_parts, serialize_product
from m5jax.errors import UserError

OUTSIDE = "O"
MOST_DESCRIPTION_WORDS = 100


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A text in pieces, with spaces between them but before a field token.

    Attributes:
        pieces: each with the label of its first token, "" for none.
        label: of the whole, "" for none.
    """

    pieces: tuple[tuple[str, str], ...]
    label: str = ""

    @property
    def text(self) -> str:
        return "".join(
            piece if not index or _begins_field(piece) else f" {piece}" for index, (piece, _) in enumerate(self.pieces)
        )

    @property
    def labels(self) -> list[str]:
        """All labels."""
        return [label for label in (*(label for _, label in self.pieces), self.label) if label]


def _begins_field(piece: str) -> bool:
    """Whether a piece begins with a field token: a "<" of a value has a space after it."""
    return piece.startswith("<") and not piece.startswith("< ")


MakeLabelled = Callable[[Any], Labelled | None]


def product_type(record: ProductRecord) -> Labelled | None:
    """The category of a product, from everything else."""
    parts = [part for part in product_parts(record, attribute_parts(record)) if part[0] != "<category>"]
    category = neutralize(record.category)
    return Labelled(((f"category{join_parts(parts)}", ""),), category) if category else None


def attribute_spans(record: ProductRecord) -> Labelled | None:
    """The attributes' values within title and description, word by word (open tagging, Xu et al., ACL 2019)."""
    title, description = neutralize(record.title).split(), neutralize(record.description).split()
    words = [*title, *description[:MOST_DESCRIPTION_WORDS]]
    tags = [OUTSIDE] * len(words)
    folded = [_folded(word) for word in words]
    for name, value in record.attributes.items():
        for item in dict.fromkeys((value, *value.split(", "))):
            _tag(folded, tags, [_folded(word) for word in neutralize(item).split()], neutralize(name))
    if not any(tag != OUTSIDE for tag in tags):
        return None
    return Labelled((("attributes<title>", ""), *zip(words, tags, strict=True)))


def duplicate(record: PairRecord) -> Labelled:
    """Whether two products are the same one."""
    right = serialize_product(record.right)
    # The second product begins with a title's token even where it has none.
    right = right if right.startswith("<title>") else f"<title>{right}"
    return Labelled(((f"match{serialize_product(record.left)}", ""), (right, "")), record.label)


def relevance(record: JudgementRecord) -> Labelled:
    """How well a product answers a query."""
    return Labelled(_shown("relevance", record), neutralize(record.label))


def click(record: JudgementRecord) -> Labelled:
    """Whether a product that was shown for a query is clicked.

    Raises:
        UserError: the label is none of 0, 1, false, true, no, yes, and CLICK_LABELS.
    """
    answer = record.label.lower()
    if answer not in _CLICKED:
        raise UserError(f"label {answer[:20]!r} of a product that was shown is none of {', '.join(_CLICKED)}")
    return Labelled(_shown("click", record), _CLICKED[answer])


CLICK_LABELS = ("no click", "click")
_CLICKED = {
    **dict.fromkeys(("0", "false", "no", CLICK_LABELS[0]), CLICK_LABELS[0]),
    **dict.fromkeys(("1", "true", "yes", CLICK_LABELS[1]), CLICK_LABELS[1]),
}


def next_query(record: SessionRecord) -> Labelled:
    """The last query of a session, from those before it."""
    before = join_parts([("<query>", query) for query in record.queries[:-1]])
    return Labelled(((f"next{before}", ""),), neutralize(record.queries[-1]))


def intent_and_slots(record: UtteranceRecord) -> Labelled:
    """The slot of each word and the intent of a request (joint: arXiv 1902.10909)."""
    words = (neutralize(token) or OUTSIDE for token in record.tokens)
    return Labelled((("intent<query>", ""), *zip(words, record.tags, strict=True)), record.intent)


def text_to_text(record: Any, make: MakeLabelled) -> tuple[str, str] | None:
    """Returns inputs and targets of the written form: the label, then `<attribute> name<value> words` of each span."""
    labelled = make(record)
    if labelled is None:
        return None
    spans: list[Part] = []
    for name, words in spans_of(labelled.pieces):
        spans += [("<attribute>", name), ("<value>", " ".join(words))]
    return labelled.text, f"{neutralize(labelled.label)}{join_parts(spans)}"


def spans_of(pieces: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Returns (name, words) of the spans in BIO form; an I that continues nothing of its name begins a span."""
    spans: list[tuple[str, list[str]]] = []
    inside = ""
    for word, tag in pieces:
        name = tag[2:] if tag.startswith(("B-", "I-")) else ""
        if name and not (tag.startswith("I-") and name == inside):
            spans.append((name, []))
        if name:
            spans[-1][1].append(word)
        inside = name
    return spans


def _shown(prompt: str, record: JudgementRecord) -> tuple[tuple[str, str], ...]:
    product = serialize_product(record.product)
    product = product if product.startswith("<") else f"<title>{product}"
    return (prompt + join_parts([("<query>", record.query)]), ""), (product, "")


def _folded(word: str) -> str:
    return word.strip(".,;:!?()[]\"'،؛؟").casefold()


def _tag(words: Sequence[str], tags: list[str], value: Sequence[str], name: str) -> None:
    """Tags every occurrence of `value` whose words have no tag yet."""
    size = len(value)
    if not size or not any(value):
        return
    for start in range(len(words) - size + 1):
        if words[start : start + size] == value and all(tag == OUTSIDE for tag in tags[start : start + size]):
            tags[start : start + size] = [f"B-{name}", *[f"I-{name}"] * (size - 1)]
