"""How well documents are ranked for queries, a value for each query first.

As in trec_eval: documents are ranked by falling score, those of equal score by falling id (strings compared by code
point); documents without a judgement are not relevant; a query's relevant documents that the run lacks count as not
found; cutoffs beyond the end of a ranking are filled up with documents that are not relevant. A query without a
relevant document is left out and counted. Scores are compared as float64: pytrec_eval 0.5 rounds them to float32
before, and has ties where they differ past that.

Computed here for all queries at once rather than by pytrec_eval, which the tests compare with: that one takes whole
grades only, while means of raters' grades are not whole, and has linear gains only.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from m5jax.errors import UserError, unknown_name
from m5jax.evaluation.metrics.checks import Values, check_lengths, numbers

Gain = Literal["linear", "exponential"]
GAINS: tuple[Gain, ...] = ("linear", "exponential")
CUTOFFS = (1, 5, 10, 100)


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """Documents found for queries, a row each, in any order.

    Args:
        queries, documents: ids, [rows].
        scores: the higher the better, [rows].

    Raises:
        UserError: there is no row, lengths differ, or a score is not finite.
    """

    queries: Sequence[str]
    documents: Sequence[str]
    scores: Values

    def __post_init__(self) -> None:
        check_lengths(queries=self.queries, documents=self.documents, scores=numbers("scores", self.scores))

    @classmethod
    def from_lists(cls, ranked: Mapping[str, Sequence[str]]) -> "Run":
        """Makes a run of the documents found for each query, best first."""
        queries = [query for query, documents in ranked.items() for _ in documents]
        documents = [document for documents in ranked.values() for document in documents]
        return cls(queries, documents, [-float(rank) for found in ranked.values() for rank in range(len(found))])


@dataclasses.dataclass(frozen=True, eq=False)
class Judgements:
    """How relevant documents are to queries, a row each, in any order.

    Args:
        queries, documents: ids, [rows].
        grades: of relevance, [rows], need not be whole; 0 and below is no gain: of grades that begin at 1, 1 is to be
            taken off.

    Raises:
        UserError: there is no row, lengths differ, or a grade is not finite.
    """

    queries: Sequence[str]
    documents: Sequence[str]
    grades: Values

    def __post_init__(self) -> None:
        check_lengths(queries=self.queries, documents=self.documents, grades=numbers("grades", self.grades))

    @classmethod
    def from_mapping(cls, grades: Mapping[str, Mapping[str, float]]) -> "Judgements":
        """Makes judgements of the grades by document, by query."""
        queries = [query for query, judged in grades.items() for _ in judged]
        documents = [document for judged in grades.values() for document in judged]
        return cls(queries, documents, [float(grade) for judged in grades.values() for grade in judged.values()])


@dataclasses.dataclass(frozen=True, eq=False)
class QueryMetrics:
    """A value for each query that has a relevant document.

    Args:
        queries: ids, in order.
        values: by metric, float64 [queries].
        left_out: how many queries of the run or the judgements have no relevant document.
    """

    queries: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    left_out: int


def query_metrics(
    run: Run,
    judgements: Judgements,
    cutoffs: Sequence[int] = CUTOFFS,
    relevant_from: float = 1.0,
    gain: Gain = "linear",
) -> QueryMetrics:
    """Returns map and mrr of whole rankings, and recall@k, precision@k and ndcg@k at cutoffs k, of each query.

    `m5jax.evaluation.estimates.mean_of` makes one value of all queries, each alike or by how often it is asked, and
    `bootstrap_means` one with an interval. Reranking judged lists is a run and judgements of the same rows.

    Args:
        run: what is measured; a judged query that it lacks has 0 everywhere.
        judgements: what is relevant.
        cutoffs: each 1 or more.
        relevant_from: the grade from which a document is relevant, above 0; of no meaning to ndcg.
        gain: of ndcg: "linear", the grade itself, as in trec_eval (Järvelin & Kekäläinen 2002), or "exponential", 2 to
            the grade less 1 (Burges et al. 2005); the discount is log2(rank + 1).

    Raises:
        UserError: a document is there twice for a query, an id is no string, no query has a relevant document, or an
            argument is not allowed.
    """
    _check_arguments(cutoffs, relevant_from, gain)
    names, found, ideal = _rankings(run, judgements)
    relevant = ideal.sums(ideal.grades >= relevant_from)
    kept = np.flatnonzero(relevant)
    if not len(kept):
        raise UserError(f"none of {len(names)} queries has a document of grade {relevant_from:g} or more")
    values = _binary_values(found, relevant, cutoffs, relevant_from) | _gain_values(found, ideal, cutoffs, gain)
    return QueryMetrics(
        queries=tuple(names[code] for code in kept),
        values={name: column[kept] for name, column in values.items()},
        left_out=len(names) - len(kept),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Ranking:
    """Rows by query, then best first: int64 queries and float64 grades, [rows], of so many queries."""

    queries: np.ndarray
    grades: np.ndarray
    count: int

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """The first row of each row's query, int64 [rows]."""
        return np.searchsorted(self.queries, self.queries)

    @functools.cached_property
    def ranks(self) -> np.ndarray:
        """From 1, int64 [rows]."""
        return np.arange(len(self.queries)) - self.starts + 1

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Returns float64 [queries]: the sums of [rows]."""
        return np.bincount(self.queries, weights=values, minlength=self.count)

    def so_far(self, values: np.ndarray) -> np.ndarray:
        """Returns int64 [rows]: how many of bool [rows] are true down to each rank of its query."""
        total = np.cumsum(values)
        return total - (total - values)[self.starts]


def _rankings(run: Run, judgements: Judgements) -> tuple[list[str], _Ranking, _Ranking]:
    """Returns the ids of all queries, the run's ranking, and the best one possible."""
    names, judged_queries, found_queries = _coded(judgements.queries, run.queries)
    documents, judged_documents, found_documents = _coded(judgements.documents, run.documents)
    judged_pairs = judged_queries * len(documents) + judged_documents
    found_pairs = found_queries * len(documents) + found_documents
    _check_once("judgements hold", judgements, judged_pairs)
    _check_once("the run holds", run, found_pairs)
    judged_grades, scores = numbers("grades", judgements.grades), numbers("scores", run.scores)
    found_grades = _looked_up(judged_pairs, judged_grades, found_pairs)
    # The last key is the first to sort by.
    order = np.lexsort((-found_documents, -scores, found_queries))
    ideal = np.lexsort((-judged_grades, judged_queries))
    return (
        names,
        _Ranking(found_queries[order], found_grades[order], len(names)),
        _Ranking(judged_queries[ideal], judged_grades[ideal], len(names)),
    )


def _binary_values(
    found: _Ranking, relevant: np.ndarray, cutoffs: Sequence[int], relevant_from: float
) -> dict[str, np.ndarray]:
    hits = found.grades >= relevant_from
    so_far = found.so_far(hits)
    needed = np.maximum(relevant, 1)
    values = {
        "map": found.sums(hits * so_far / found.ranks) / needed,
        "mrr": found.sums((hits & (so_far == 1)) / found.ranks),
    }
    counts = {cutoff: found.sums(hits & (found.ranks <= cutoff)) for cutoff in cutoffs}
    values |= {f"recall@{cutoff}": count / needed for cutoff, count in counts.items()}
    return values | {f"precision@{cutoff}": count / cutoff for cutoff, count in counts.items()}


def _gain_values(found: _Ranking, ideal: _Ranking, cutoffs: Sequence[int], gain: Gain) -> dict[str, np.ndarray]:
    values = {}
    for cutoff in cutoffs:
        reached, best = (
            ranking.sums(_gains(ranking.grades, gain) / np.log2(ranking.ranks + 1) * (ranking.ranks <= cutoff))
            for ranking in (found, ideal)
        )
        values[f"ndcg@{cutoff}"] = np.divide(reached, best, out=np.zeros(len(best)), where=best > 0)
    return values


def _gains(grades: np.ndarray, gain: Gain) -> np.ndarray:
    positive = np.maximum(grades, 0.0)
    return positive if gain == "linear" else np.exp2(positive) - 1


def _check_arguments(cutoffs: Sequence[int], relevant_from: float, gain: str) -> None:
    if gain not in GAINS:
        raise unknown_name("gain", gain, GAINS)
    if not cutoffs or min(cutoffs) < 1:
        raise UserError(f"cutoffs are {list(cutoffs)}; allowed: 1 and above, at least one")
    if not relevant_from > 0:
        raise UserError(f"documents are relevant from grade {relevant_from}; allowed: above 0")


def _coded(judged: Sequence[str], found: Sequence[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Returns all ids in order, and the places of those of judgements and run among them, int64 [rows]."""
    for of in {type(name) for name in (*judged, *found)}:
        if not issubclass(of, str):
            raise UserError(f"ids of queries and documents hold one of type {of.__name__}; allowed: strings")
    names = sorted({*judged, *found})
    places = {name: place for place, name in enumerate(names)}
    one, other = (np.fromiter(map(places.__getitem__, ids), np.int64, len(ids)) for ids in (judged, found))
    return names, one, other


def _check_once(what: str, rows: Run | Judgements, pairs: np.ndarray) -> None:
    order = np.argsort(pairs, kind="stable")
    twice = order[1:][np.diff(pairs[order]) == 0]
    if len(twice):
        query, document = rows.queries[twice[0]], rows.documents[twice[0]]
        raise UserError(f"{what} document {document!r} of query {query!r} twice; allowed: once")


def _looked_up(judged: np.ndarray, grades: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Returns float64 [found]: the grades of those that are judged, 0 of others."""
    order = np.argsort(judged)
    places = np.minimum(np.searchsorted(judged[order], found), len(judged) - 1)
    return np.where(judged[order][places] == found, grades[order][places], 0.0)
