"""From what systems found to a report and the predictions behind it."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from m5jax.data.serialize import plain_text
from m5jax.evaluation.estimates import Estimate, bootstrap_means
from m5jax.evaluation.metrics.search import CUTOFFS, Gain, Judgements, Run, query_metrics
from m5jax.evaluation.predictions import Predictions, make_predictions
from m5jax.evaluation.report_data import Curve, EvaluationReport, Example, Group, Line
from m5jax.finetuning.search_data import SearchData
from m5jax.finetuning.search_systems import DEPTH, Found

GAIN: Gain = "linear"
SHOWN = 10  # of the worst queries
_WORST_BY = "ndcg@10"
_CHARACTERS = 300


@dataclasses.dataclass(frozen=True, eq=False)
class SystemResult:
    """What a system found.

    Attributes:
        name: of the system.
        found: by it.
        further: metrics beside those of what it found.
    """

    name: str
    found: Found
    further: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class SearchAssessment:
    """Queries and documents, and what systems found.

    Attributes:
        data: what fits.
        candidates: which documents were searched or reranked; a part of the data's fingerprint.
        results: of one or more systems of different names; the first is the one that predictions and examples are of.
        samples, seed: of the bootstrap.
    """

    data: SearchData
    candidates: str
    results: Sequence[SystemResult]
    samples: int = 1000
    seed: int = 0

    def report(self, title: str, facts: Mapping[str, str]) -> EvaluationReport:
        """Returns figures of each system, recall and precision over ranks, and the worst queries of the first."""
        return EvaluationReport(
            title,
            "search",
            facts,
            tuple(self._group(result) for result in self.results),
            self._curves(),
            (),
            self._worst_queries(),
            self.data.notes,
        )

    def predictions(self) -> Predictions:
        """Returns what the first system found, and what fits and was not found, a row a query and document."""
        data, found = self.data, self.results[0].found
        missed = np.setdiff1d(_keys(data, *data.judged[data.grades > 0].T), _keys(data, found.queries, found.documents))
        missed_queries, missed_documents = np.divmod(missed, len(data.documents))
        queries = np.concatenate([found.queries, missed_queries])
        documents = np.concatenate([found.documents, missed_documents])
        nothing = [None] * len(missed)
        columns = {
            "query": [data.query_ids[query] for query in queries],
            "document": [data.document_ids[document] for document in documents],
            "group": [data.languages[query] for query in queries],
            "grade": _grades(data, queries, documents),
            "score": [*found.scores.tolist(), *nothing],
            "rank": [*found.ranks.tolist(), *nothing],
            "weight": data.weights[queries],
        }
        settings = {"cutoffs": list(CUTOFFS), "relevant_from": data.relevant_from, "gain": GAIN}
        return make_predictions("search", data.fingerprint(self.candidates), columns, settings)

    def _group(self, result: SystemResult) -> Group:
        values, weights = self._values[result.name], self.data.weights
        metrics = bootstrap_means(values, None, self.samples, self.seed)
        if (weights != weights[0]).any():
            weighted = bootstrap_means(values, weights, self.samples, self.seed)
            metrics |= {f"weighted_{name}": estimate for name, estimate in weighted.items()}
        further = {name: Estimate(value, None, None, len(weights)) for name, value in result.further.items()}
        return Group(result.name, metrics | further)

    def _curves(self) -> tuple[Curve, ...]:
        most = min(DEPTH, max(int(result.found.ranks.max(initial=1)) for result in self.results))
        ranks = tuple(map(float, range(1, most + 1)))
        recall, precision = [], []
        for result in self.results:
            hits = self._hits_by_rank(result.found)[:, :most].cumsum(axis=1)
            recall.append(Line(result.name, ranks, _means(hits / self._relevant[:, None])))
            precision.append(Line(result.name, ranks, _means(hits / np.arange(1, most + 1))))
        return (
            Curve("Recall", "documents looked at", "recall", tuple(recall), False),
            Curve("Precision", "documents looked at", "precision", tuple(precision), False),
        )

    @functools.cached_property
    def _values(self) -> dict[str, dict[str, np.ndarray]]:
        return {result.name: measure_queries(self.data, result.found) for result in self.results}

    @functools.cached_property
    def _relevant(self) -> np.ndarray:
        """How many documents are relevant to each query, float64 [queries]."""
        data = self.data
        return np.bincount(data.judged[:, 0], data.grades >= data.relevant_from, len(data.queries))

    def _hits_by_rank(self, found: Found) -> np.ndarray:
        """Returns bool [queries, DEPTH]: whether the document of each rank is relevant."""
        relevant = _grades(self.data, found.queries, found.documents) >= self.data.relevant_from
        kept = relevant & (found.ranks <= DEPTH)
        hits = np.zeros((len(self.data.queries), DEPTH), bool)
        hits[found.queries[kept], found.ranks[kept] - 1] = True
        return hits

    def _worst_queries(self) -> tuple[Example, ...]:
        """Returns the queries of the lowest nDCG, of equal ones those that are asked more often."""
        values = self._values[self.results[0].name][_WORST_BY]
        worst = np.lexsort((-self.data.weights, values))[:SHOWN]
        return tuple(self._example(query, values[query]) for query in worst if values[query] < 1)

    def _example(self, query: int, value: float) -> Example:
        data, found = self.data, self.results[0].found
        judged = np.flatnonzero(data.judged[:, 0] == query)
        best = data.judged[judged[np.argmax(data.grades[judged])], 1]
        own = np.flatnonzero(found.queries == query)
        places = own[found.documents[own] == best]
        fields = {
            _WORST_BY: f"{value:.3f}",
            "weight": f"{data.weights[query]:g}",
            "most relevant": _shown(data.documents[best]),
            "its rank": str(found.ranks[places[0]]) if len(places) else "not found",
        }
        if len(own):
            first = found.documents[own[0]]
            grades = data.grades[judged[data.judged[judged, 1] == first]]
            fields |= {
                "ranked first": _shown(data.documents[first]),
                "its grade": f"{grades[0]:g}" if len(grades) else "not judged",
            }
        return Example(_shown(data.queries[query]), fields)


def measure_queries(data: SearchData, found: Found) -> dict[str, Float[np.ndarray, " queries"]]:
    """Returns each metric of `m5jax.evaluation.metrics.search`, a value a query."""
    queries, documents = (list(map(str, column)) for column in (found.queries, found.documents))
    # By rank, since ties are settled already. A run needs a row: where nothing was found, of no document that there is.
    run = Run(queries, documents, -found.ranks.astype(np.float64)) if queries else Run(["0"], [""], [0.0])
    judged_queries, judged_documents = (list(map(str, column)) for column in data.judged.T)
    judgements = Judgements(judged_queries, judged_documents, data.grades)
    metrics = query_metrics(run, judgements, CUTOFFS, data.relevant_from, GAIN)
    order = np.argsort(np.array(metrics.queries, np.int64))  # every query has a relevant document
    return {name: values[order] for name, values in metrics.values.items()}


def _grades(data: SearchData, queries: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Returns float64 [rows]: the grades of those that are judged, 0 of others."""
    judged, wanted = _keys(data, *data.judged.T), _keys(data, queries, documents)
    places = np.minimum(np.searchsorted(judged, wanted), len(judged) - 1)
    return np.where(judged[places] == wanted, data.grades[places], 0.0)


def _keys(data: SearchData, queries: np.ndarray, documents: np.ndarray) -> np.ndarray:
    return queries * len(data.documents) + documents


def _means(values: np.ndarray) -> tuple[float, ...]:
    return tuple(values.mean(axis=0).tolist())


def _shown(text: str) -> str:
    return plain_text(text)[:_CHARACTERS]
