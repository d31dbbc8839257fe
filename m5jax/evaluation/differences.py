"""The metrics of two systems on the same units, and how they differ, for each kind of predictions.

The permutation test swaps answers between systems, so that they have to mean the same. Scores that only rank are made
ranks within each system, ties having their mean (Bandos, Rockette and Gur 2005, "A permutation test sensitive to
differences in areas for comparing ROC curves from a paired design"); decisions are those that each system took.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from m5jax.errors import UserError
from m5jax.evaluation import estimates
from m5jax.evaluation.estimates import Difference, Metrics
from m5jax.evaluation.matching import Answers
from m5jax.evaluation.metrics import classification, masked, pairs, search, understanding
from m5jax.evaluation.metrics.checks import Values


class Measured(NamedTuple):
    """A metric of two systems, and what the second has more than the first."""

    first: float
    second: float
    difference: Difference


class Resampling(NamedTuple):
    """How intervals and p-values are made, see `m5jax.evaluation.estimates.compare`."""

    samples: int
    seed: int

    def of_rows(self, metrics: Metrics, units: int) -> dict[str, Measured]:
        """Measures by `metrics`, whose rows are those of the first system, then those of the second."""
        rows = np.arange(units)
        first, second = metrics(rows), metrics(rows + units)
        found = estimates.compare(metrics, units, self.samples, self.seed)
        return {name: Measured(first[name], second[name], difference) for name, difference in found.items()}

    def of_means(
        self, first: Mapping[str, Values], second: Mapping[str, Values], weights: Values | None = None
    ) -> dict[str, Measured]:
        """Measures means of [units]."""
        one, other = (estimates.mean_of(values, weights) for values in (first, second))
        found = estimates.compare_means(first, second, weights, self.samples, self.seed)
        return {name: Measured(one[name], other[name], difference) for name, difference in found.items()}


# Measures what is defined together: from the answers of both to the same units, and the settings of the predictions.
Family: TypeAlias = Callable[[Answers, Answers, Mapping[str, Any], Resampling], dict[str, Measured]]


def families_of(kind: str, first: Answers, second: Answers) -> tuple[Family, ...]:
    """Returns how predictions of a kind are measured, in all their groups, given all answers of both systems."""
    families = _FAMILIES[kind]
    if kind == "pairs":
        scores = _both("score", first, second)
        # Other scores are similarities, which nobody calibrates.
        if 0 <= scores.min() <= scores.max() <= 1:
            families += (_by_rows(_calibration_metrics, "label", "score"),)
    return families


def measure(
    families: Sequence[Family], settings: Mapping[str, Any], first: Answers, second: Answers, resampling: Resampling
) -> tuple[dict[str, Measured], list[str]]:
    """Returns the metrics of two systems by name, and why others are left out.

    Args:
        families: from `families_of`.
        settings: of the predictions.
        first, second: answers to the same units, one or more.
        resampling: how to test.
    """
    measured: dict[str, Measured] = {}
    left_out = []
    for family in families:
        try:
            measured |= family(first, second, settings, resampling)
        except UserError as error:
            left_out.append(str(error))
    return measured, left_out


def _ranking(first: Answers, second: Answers, _: Any, resampling: Resampling) -> dict[str, Measured]:
    from scipy.stats import rankdata  # slow to import

    labels = _both("label", first, second)
    ranks = np.concatenate([rankdata(answers.column("score")) for answers in (first, second)])
    return resampling.of_rows(lambda rows: pairs.ranking_metrics(labels[rows], ranks[rows]), len(first.units))


def _by_rows(metrics: Callable[..., dict[str, float]], *names: str) -> Family:
    """Returns what measures columns of both systems, row by row."""

    def family(first: Answers, second: Answers, _: Any, resampling: Resampling) -> dict[str, Measured]:
        columns = [_both(name, first, second) for name in names]
        return resampling.of_rows(lambda rows: metrics(*(column[rows] for column in columns)), len(first.units))

    return family


def _calibration_metrics(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    return {"expected_calibration_error": pairs.expected_calibration_error(labels, scores)}


def _labels(first: Answers, second: Answers, _: Any, resampling: Resampling) -> dict[str, Measured]:
    columns = [_both(name, first, second) for name in ("label", "predicted")]
    # As numbers, which are compared sooner than strings.
    codes = {name: code for code, name in enumerate(sorted({*columns[0], *columns[1]}))}
    labels, predicted = (np.array([codes[name] for name in column]) for column in columns)
    return resampling.of_rows(
        lambda rows: classification.classification_metrics(labels[rows], predicted[rows]), len(first.units)
    )


def _understanding(first: Answers, second: Answers, _: Any, resampling: Resampling) -> dict[str, Measured]:
    columns = [_both(name, first, second) for name in ("intent", "predicted_intent", "tags", "predicted_tags")]
    counts = understanding.count_utterances(*map(list, columns))
    return resampling.of_rows(lambda rows: understanding.understanding_metrics(counts.take(rows)), len(first.units))


def _texts(first: Answers, second: Answers, _: Any, resampling: Resampling) -> dict[str, Measured]:
    one, other = (
        {"exact_match": (answers.column("target") == answers.column("predicted")).astype(np.float64)}
        for answers in (first, second)
    )
    return resampling.of_means(one, other)


def _masked(hidden: str, first: Answers, second: Answers, _: Any, resampling: Resampling) -> dict[str, Measured]:
    found: dict[str, Measured] = {}
    one, other = (_masked_ratios(hidden, answers) for answers in (first, second))
    for name, ratio in one.items():
        found |= resampling.of_means({name: ratio.values}, {name: other[name].values}, ratio.weights)
    return found


def _masked_ratios(hidden: str, answers: Answers) -> dict[str, masked.Ratio]:
    """Returns no metric where nothing of the kind is hidden."""
    answers = answers.where(answers.column("hidden") == hidden)
    correct, losses, targets = map(answers.column, ("correct", "loss", "target"))
    return masked.masked_ratios(hidden, answers.units, correct, losses, list(targets)) if len(correct) else {}


def _search(
    first: Answers, second: Answers, settings: Mapping[str, Any], resampling: Resampling
) -> dict[str, Measured]:
    judgements = _judgements(first, second)
    one, other = (search.query_metrics(_run(answers), judgements, **settings) for answers in (first, second))
    weights = np.empty(first.units[-1] + 1)
    weights[first.units] = first.column("weight")
    weights = weights[[int(query) for query in one.queries]]
    found = resampling.of_means(one.values, other.values)
    if (weights != weights[0]).any():
        weighted = resampling.of_means(one.values, other.values, weights)
        found |= {f"weighted_{name}": value for name, value in weighted.items()}
    return found


def _judgements(first: Answers, second: Answers) -> search.Judgements:
    """Returns what either system's rows say: a relevant document that one did not find may be in those of the other."""
    grades = {
        (str(unit), document): grade
        for answers in (first, second)
        for unit, document, grade in zip(answers.units, *map(answers.column, ("document", "grade")), strict=True)
    }
    queries, documents = zip(*grades, strict=True)
    return search.Judgements(queries, documents, list(grades.values()))


def _run(answers: Answers) -> search.Run:
    found = np.flatnonzero(np.isfinite(answers.column("score")))  # a missing score is NaN here
    # By rank, which settles ties as the evaluation did.
    ranks = answers.column("rank")[found].astype(np.float64)
    return search.Run([str(unit) for unit in answers.units[found]], list(answers.column("document")[found]), -ranks)


def _both(name: str, first: Answers, second: Answers) -> np.ndarray:
    """Returns a column of both systems, [2 * units]: the first's, then the second's."""
    return np.concatenate([answers.column(name) for answers in (first, second)])


_FAMILIES: Mapping[str, tuple[Family, ...]] = {
    "pairs": (_ranking, _by_rows(pairs.decision_metrics, "label", "predicted")),
    "clicks": (_by_rows(classification.click_metrics, "label", "score"),),
    "search": (_search,),
    "classification": (_labels,),
    "regression": (
        _by_rows(classification.error_metrics, "label", "score"),
        _by_rows(classification.correlation_metrics, "label", "score"),
    ),
    "understanding": (_understanding,),
    "text": (_texts,),
    "masked": tuple(functools.partial(_masked, hidden) for hidden in masked.HIDDEN),
}
