"""How well scores tell duplicates from different products: labels bool (or 0 and 1) [pairs], scores float [pairs].

A pair is taken for a duplicate where its score is at least the threshold.

The values are scikit-learn's, which the tests compare with, but counted here from one sort: scikit-learn sorts for each
metric and takes longer still to check its arguments, which matters where resampling asks for thousands of values.
"""

from typing import NamedTuple

import numpy as np

from m5jax.evaluation.metrics.checks import Labels, Values, binary, check_lengths, check_positives, numbers
from m5jax.evaluation.metrics.checks import probabilities as checked_probabilities

PRECISIONS = (0.90, 0.95)


def pair_metrics(labels: Labels, scores: Values, threshold: float) -> dict[str, float]:
    """Returns `decision_metrics` at a threshold, which is to be chosen on other data, and where there is a negative
    `ranking_metrics`.

    Raises:
        UserError: no label is positive, lengths differ, or a number is not finite.
    """
    taken = numbers("scores", scores) >= numbers("thresholds", [threshold])[0]
    ranking = {} if binary("labels", labels).all() else ranking_metrics(labels, scores)
    return ranking | decision_metrics(labels, taken)


def ranking_metrics(labels: Labels, scores: Values) -> dict[str, float]:
    """Returns what does not depend on a threshold.

    auc: area under the ROC curve: how often a positive scores above a negative, a tie counting half.
    average_precision: the sum of precision times the gain in recall, without interpolation, over distinct scores.
    recall_at_precision_90, recall_at_precision_95: the highest recall of all thresholds whose precision is that or
    more, 0 where none is.

    Raises:
        UserError: no label is positive or all are, lengths differ, or a number is not finite.
    """
    cuts = _cuts(labels, scores, negatives=True)
    precision, recall = cuts.right / cuts.taken, cuts.right / cuts.right[-1]
    values = {"auc": _area(cuts), "average_precision": np.diff(recall, prepend=0) @ precision}
    for least in PRECISIONS:
        values[f"recall_at_precision_{100 * least:.0f}"] = recall[precision >= least].max(initial=0)
    return {name: float(value) for name, value in values.items()}


def area_under_curve(labels: Labels, scores: Values) -> float:
    """Returns the area under the ROC curve alone, see `ranking_metrics`."""
    return _area(_cuts(labels, scores, negatives=True))


def decision_metrics(labels: Labels, predicted: Labels) -> dict[str, float]:
    """Returns f1, precision (0 where nothing is taken for a duplicate) and recall of decisions, bool [pairs].

    Raises:
        UserError: no label is positive, lengths differ, or one is neither 0 nor 1.
    """
    positive, taken = binary("labels", labels), binary("predictions", predicted)
    check_lengths(labels=positive, predictions=taken)
    check_positives(positive)
    right, wanted, found = int((positive & taken).sum()), int(positive.sum()), int(taken.sum())
    return {"f1": 2 * right / (wanted + found), "precision": right / max(found, 1), "recall": right / wanted}


def best_f1_threshold(labels: Labels, scores: Values) -> float:
    """Returns the score that as a threshold gives the highest F1; of equally good ones the highest, which takes the
    fewest pairs for duplicates.

    Raises:
        UserError: no label is positive, lengths differ, or a number is not finite.
    """
    cuts = _cuts(labels, scores)
    return float(cuts.thresholds[np.argmax(2 * cuts.right / (cuts.taken + cuts.right[-1]))])


def expected_calibration_error(labels: Labels, probabilities: Values, bins: int = 15) -> float:
    """Returns the mean distance, weighted by pairs, between a bin's mean probability and its share of positives.

    Naeini et al., AAAI 2015, with bins of equal mass (Nguyen & O'Connor, EMNLP 2015); see `reliability_points`.

    Raises:
        UserError: lengths differ, or a number is not from 0 to 1.
    """
    predicted, observed, counts = reliability_points(labels, probabilities, bins)
    return float(counts @ np.abs(predicted - observed) / counts.sum())


def reliability_points(
    labels: Labels, probabilities: Values, bins: int = 15
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns mean probability, share of positives, and number of pairs, of the bins that hold any, by rising
    probability.

    Bins are parted at the quantiles of the probabilities (as by scikit-learn's `calibration_curve`); equal
    probabilities share one, whatever their order.

    Raises:
        UserError: lengths differ, or a number is not from 0 to 1.
    """
    positive, numeric = binary("labels", labels), checked_probabilities("probabilities", probabilities)
    check_lengths(labels=positive, probabilities=numeric)
    edges = np.percentile(numeric, np.linspace(0, 1, bins + 1) * 100)
    own = np.searchsorted(edges[1:-1], numeric)
    counts = np.bincount(own, minlength=bins)
    filled = counts > 0
    sums = [np.bincount(own, weights=column, minlength=bins)[filled] for column in (numeric, positive)]
    return sums[0] / counts[filled], sums[1] / counts[filled], counts[filled]


def precision_recall_points(labels: Labels, scores: Values, most: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Returns recall and precision by rising recall, float64 [points]: at most so many, evenly thinned, ends kept.

    The first is recall 0 at precision 1, the last takes all pairs for duplicates.

    Raises:
        UserError: no label is positive, lengths differ, or a number is not finite.
    """
    cuts = _cuts(labels, scores)
    recall, precision = np.append(0.0, cuts.right / cuts.right[-1]), np.append(1.0, cuts.right / cuts.taken)
    kept = np.unique(np.linspace(0, len(recall) - 1, most).round().astype(np.int64))
    return recall[kept], precision[kept]


class _Cuts(NamedTuple):
    """What each score does as a threshold, highest first: float64 thresholds, and int64 counts of the pairs taken for
    duplicates and of those that are right, [distinct scores]."""

    thresholds: np.ndarray
    taken: np.ndarray
    right: np.ndarray


def _cuts(labels: Labels, scores: Values, negatives: bool = False) -> _Cuts:
    positive, numeric = binary("labels", labels), numbers("scores", scores)
    check_lengths(labels=positive, scores=numeric)
    check_positives(positive, negatives)
    order = np.argsort(-numeric, kind="stable")
    descending = numeric[order]
    last = np.append(np.flatnonzero(np.diff(descending)), len(order) - 1)
    return _Cuts(descending[last], last + 1, np.cumsum(positive[order])[last])


def _area(cuts: _Cuts) -> float:
    """Returns the share of pairs of a positive and a negative that are in order, ties as half (Mann & Whitney 1947)."""
    positives, negatives = np.diff(cuts.right, prepend=0), np.diff(cuts.taken - cuts.right, prepend=0)
    in_order = negatives @ (cuts.right - positives / 2)
    return float(in_order / (positives.sum() * negatives.sum()))
