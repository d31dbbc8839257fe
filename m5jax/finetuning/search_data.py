"""Pairs as a search: queries, documents, and how well which documents fit which queries.

A query is a distinct left text, a document a distinct right one. Documents stand in the order of a hash of their texts:
of equal scores the first is first, and the order of files, in which what fits may come first, would favour systems that
tell documents badly apart.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from m5jax.data.catalog_records import INNER_FIELDS
from m5jax.data.serialize import plain_text
from m5jax.errors import UserError
from m5jax.finetuning.examples import Columns, Example, RowReader
from m5jax.finetuning.tasks import PairLabels

_CHARACTERS = 60  # of a text in its id


@dataclasses.dataclass(frozen=True, eq=False)
class SearchData:
    """Queries that have a relevant document, and documents to find.

    Attributes:
        queries, documents: texts, each once.
        query_rows: int64 [queries], the first example of each.
        document_rows: int64 [documents], the first place of each among the examples' right sides and then the further
            documents.
        judged: int64 [judged, 2], a query and a document, by rising query and document.
        grades: float64 [judged], 0 and above.
        relevant_from: the least grade of a relevant document.
        weights: float64 [queries], above 0, how often each is asked.
        languages: of the queries.
        notes: what was left out.
    """

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    query_rows: Int[np.ndarray, " queries"]
    document_rows: Int[np.ndarray, " documents"]
    judged: Int[np.ndarray, "judged 2"]
    grades: Float[np.ndarray, " judged"]
    relevant_from: float
    weights: Float[np.ndarray, " queries"]
    languages: tuple[str, ...]
    notes: tuple[str, ...]

    @functools.cached_property
    def query_ids(self) -> list[str]:
        return [text_id(text) for text in self.queries]

    @functools.cached_property
    def document_ids(self) -> list[str]:
        return [text_id(text) for text in self.documents]

    @functools.cached_property
    def itself(self) -> Int[np.ndarray, " queries"]:
        """Which document is each query's very text, without being judged for it; -1 where there is none.

        It is no answer: a product searched for its duplicates is the nearest to itself.
        """
        places = {text: place for place, text in enumerate(self.documents)}
        own = np.array([places.get(text, -1) for text in self.queries], np.int64)
        judged = self.judged[self.judged[:, 1] == own[self.judged[:, 0]], 0]
        own[judged] = -1
        return own

    def fingerprint(self, candidates: str) -> str:
        """Returns what tells this data, and the documents searched in, from others."""
        content = hashlib.blake2b(candidates.encode(), digest_size=8)
        for name, weight in zip(self.query_ids, self.weights, strict=True):
            content.update(f"{name} {weight:g}\n".encode())
        for name in self.document_ids:
            content.update(f"{name}\n".encode())
        content.update(self.judged.astype("<i8").tobytes() + self.grades.astype("<f8").tobytes())
        return content.hexdigest()


@dataclasses.dataclass(frozen=True)
class RightSides:
    """Documents beside those of labelled pairs: rows have `right`, or are products themselves.

    Attributes:
        columns: of the pairs; they need not be there.
    """

    columns: Columns

    fields = ("right",)

    @property
    def required(self) -> tuple[tuple[str, ...], ...]:
        return ((self.columns.names.get("right", "right"), "title", "description", "attributes"),)

    def example(self, row: RowReader, location: str) -> Example:
        """Returns the document of a row; raises BadRecord."""
        row = dataclasses.replace(row, columns=self.columns)
        if row.has("right"):
            return Example(location, (row.text("right"),))
        hidden = {column for field, column in self.columns.names.items() if field not in INNER_FIELDS}
        product = {name: value for name, value in row.row.items() if name not in hidden}
        return Example(location, (row.text_of("right", product),))


def gather(examples: Sequence[Example], labels: PairLabels, further: Sequence[str] = ()) -> SearchData:
    """Returns pairs as a search.

    Args:
        examples: of two texts each; of several labels of a pair, and weights of a query, the highest counts.
        labels: their meaning.
        further: documents beside the right sides.

    Raises:
        UserError: an example is no pair, or there is no query with a relevant document.
    """
    for example in examples:
        if len(example.texts) != 2:
            raise UserError(f"{example.location}: {len(example.texts)} items; a search needs a query and a document")
    queries = _first_places(example.texts[0] for example in examples)
    documents = _first_places([*(example.texts[1] for example in examples), *further])
    ordered = sorted(documents, key=text_id)
    judged, grades, several = _judgements(examples, labels, queries, ordered)
    weights = np.zeros(len(queries))
    np.maximum.at(weights, _numbers(queries, [example.texts[0] for example in examples]), _weights(examples))
    least = labels.least_fit - labels.lowest
    relevant = np.bincount(judged[:, 0], weights=grades >= least, minlength=len(queries)) > 0
    kept = np.flatnonzero(relevant & (weights > 0))
    if not len(kept):
        raise UserError(
            f"none of {len(queries)} queries has a document of grade {labels.least_fit:g} or more and a weight above 0"
        )
    own = np.isin(judged[:, 0], kept)
    rows, texts = np.array(list(queries.values()), np.int64), list(queries)
    return SearchData(
        queries=tuple(texts[number] for number in kept),
        documents=tuple(ordered),
        query_rows=rows[kept],
        document_rows=np.array([documents[text] for text in ordered], np.int64),
        judged=np.stack([np.searchsorted(kept, judged[own, 0]), judged[own, 1]], axis=1),
        grades=grades[own],
        relevant_from=least,
        weights=weights[kept],
        languages=tuple(examples[row].language for row in rows[kept]),
        notes=_notes(relevant, weights > 0, several),
    )


def text_id(text: str) -> str:
    """Returns a short name of a text: a hash of it and its beginning."""
    return f"{hashlib.blake2b(text.encode('utf-8'), digest_size=8).hexdigest()} {plain_text(text)[:_CHARACTERS]}"


def _judgements(
    examples: Sequence[Example], labels: PairLabels, queries: Mapping[str, int], documents: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns the distinct pairs in order, the highest grade of each, and how many have several."""
    left = _numbers(queries, [example.texts[0] for example in examples])
    right = _numbers(documents, [example.texts[1] for example in examples])
    given = np.array([float(example.label or 0.0) for example in examples]) - labels.lowest
    pairs, place = np.unique(left * len(documents) + right, return_inverse=True)
    grades, least = np.full(len(pairs), -np.inf), np.full(len(pairs), np.inf)
    np.maximum.at(grades, place, given)
    np.minimum.at(least, place, given)
    return np.stack(np.divmod(pairs, len(documents)), axis=1), grades, int(np.count_nonzero(grades > least))


def _notes(relevant: np.ndarray, asked: np.ndarray, several: int) -> tuple[str, ...]:
    counts = {
        f"of {len(relevant):,} queries are left out: no document is relevant to them": np.count_nonzero(~relevant),
        f"of {len(relevant):,} queries are left out: their weight is 0": np.count_nonzero(relevant & ~asked),
        "pairs have several grades, of which the highest counts": several,
    }
    return tuple(f"{count:,} {what}" for what, count in counts.items() if count)


def _weights(examples: Sequence[Example]) -> np.ndarray:
    return np.array([example.weight for example in examples], np.float64)


def _first_places(texts: Iterable[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for place, text in enumerate(texts):
        places.setdefault(text, place)
    return places


def _numbers(names: Iterable[str], texts: Sequence[str]) -> np.ndarray:
    """Returns int64 [texts], the place of each among the names."""
    places = {name: place for place, name in enumerate(names)}
    return np.array([places[text] for text in texts], np.int64)
