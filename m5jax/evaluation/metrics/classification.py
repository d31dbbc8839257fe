"""How well labels, numbers and clicks are predicted: arrays [rows] of what is right and of what is predicted."""

import numpy as np

from m5jax.errors import UserError
from m5jax.evaluation.metrics.checks import (
    Labels,
    Values,
    binary,
    check_lengths,
    check_positives,
    classes,
    numbers,
)
from m5jax.evaluation.metrics.checks import probabilities as checked_probabilities
from m5jax.evaluation.metrics.pairs import area_under_curve, expected_calibration_error

OTHER = "other"


def classification_metrics(labels: Labels, predictions: Labels) -> dict[str, float]:
    """Returns accuracy, macro_f1, micro_f1 and weighted_f1, one label a row.

    macro_f1 is the mean of the F1 of each label that is there, whatever its frequency, and weighted_f1 the mean by
    frequency; a label that is only ever predicted has no part of its own in either. micro_f1, of the counts of all
    labels, equals accuracy where each row has one label.

    Raises:
        UserError: lengths differ, there is no row, or a label is neither a string nor an integer.
    """
    names, right, predicted = _coded(labels, predictions)
    wanted, found = (np.bincount(codes, minlength=len(names)) for codes in (right, predicted))
    hits = np.bincount(right[right == predicted], minlength=len(names))
    f1 = 2 * hits / (wanted + found)
    return {
        "accuracy": float(hits.sum() / len(right)),
        "macro_f1": float(f1[wanted > 0].mean()),
        "micro_f1": float(2 * hits.sum() / (wanted.sum() + found.sum())),
        "weighted_f1": float(wanted @ f1 / len(right)),
    }


def confusion_matrix(labels: Labels, predictions: Labels, most: int = 20) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns names, the most frequent labels first, and int64 [names, names]: rows are right, columns predicted.

    Args:
        labels, predictions: of rows.
        most: how many labels are shown, by their frequency among `labels`, then by name; the rest are counted together
            in a last one, "other" (or "all other", where a label that is shown has that name).

    Raises:
        UserError: as for `classification_metrics`; or none is to be shown.
    """
    if most < 1:
        raise UserError(f"a confusion matrix of {most} labels shows nothing; allowed: 1 and above")
    names, right, predicted = _coded(labels, predictions)
    order = np.argsort(-np.bincount(right, minlength=len(names)), kind="stable")
    shown = tuple(str(names[code]) for code in order[:most])
    if len(names) > most:
        shown += (OTHER if OTHER not in shown else f"all {OTHER}",)
    places = np.empty(len(names), np.int64)
    places[order] = np.minimum(np.arange(len(names)), most)
    counts = np.bincount(places[right] * len(shown) + places[predicted], minlength=len(shown) ** 2)
    return shown, counts.reshape(len(shown), len(shown)).astype(np.int64)


def regression_metrics(labels: Values, predictions: Values) -> dict[str, float]:
    """Returns `error_metrics` and, where they are defined, `correlation_metrics`."""
    errors = error_metrics(labels, predictions)
    try:
        return errors | correlation_metrics(labels, predictions)
    except UserError:  # all labels, or all predictions, are the same
        return errors


def error_metrics(labels: Values, predictions: Values) -> dict[str, float]:
    """Returns mae, the mean absolute error, and rmse, the root of the mean squared one, in the labels' unit.

    Raises:
        UserError: lengths differ, there is no row, or a number is not finite.
    """
    right, predicted = _paired_numbers(labels, predictions)
    errors = predicted - right
    return {"mae": float(np.abs(errors).mean()), "rmse": float(np.sqrt(np.square(errors).mean()))}


def correlation_metrics(labels: Values, predictions: Values) -> dict[str, float]:
    """Returns pearson and spearman (ties have their mean rank), -1 to 1.

    Raises:
        UserError: lengths differ, a number is not finite, or all labels or all predictions are the same.
    """
    from scipy.stats import pearsonr, rankdata  # slow to import

    right, predicted = _paired_numbers(labels, predictions)
    for name, values in (("labels", right), ("predictions", predicted)):
        if values.min() == values.max():
            raise UserError(f"all {len(values)} {name} are {values[0]:g}; a correlation needs at least two values")
    return {
        "pearson": float(pearsonr(right, predicted).statistic),
        "spearman": float(pearsonr(rankdata(right), rankdata(predicted)).statistic),
    }


def click_metrics(labels: Labels, probabilities: Values) -> dict[str, float]:
    """Returns how well clicks, bool (or 0 and 1) [rows], are predicted by their probabilities [rows].

    auc: area under the ROC curve.
    log_loss: in nats; probabilities are kept from 0 and 1 by the float64 epsilon, as in scikit-learn.
    normalized_entropy: the log loss over that of always predicting the mean label (He et al. 2014, "Practical Lessons
    from Predicting Clicks on Ads at Facebook", equation 1); below 1 where the model knows more.
    calibration: mean prediction over mean label (same paper, section 2); 1 is best.
    expected_calibration_error: see `m5jax.evaluation.metrics.pairs`.

    Raises:
        UserError: nothing or everything is clicked, lengths differ, or a number is not from 0 to 1.
    """
    clicked, predicted = binary("labels", labels), checked_probabilities("probabilities", probabilities)
    check_lengths(labels=clicked, probabilities=predicted)
    check_positives(clicked, negatives=True)
    rate = float(clicked.mean())
    loss = _log_loss(clicked, predicted)
    return {
        "auc": area_under_curve(clicked, predicted),
        "log_loss": loss,
        "normalized_entropy": loss / _log_loss(clicked, np.full(len(clicked), rate)),
        "calibration": float(predicted.mean() / rate),
        "expected_calibration_error": expected_calibration_error(clicked, predicted),
    }


def _log_loss(clicked: np.ndarray, predicted: np.ndarray) -> float:
    epsilon = np.finfo(np.float64).eps
    kept = np.clip(predicted, epsilon, 1 - epsilon)
    return float(-np.log(np.where(clicked, kept, 1 - kept)).mean())


def _coded(labels: Labels, predictions: Labels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the names in order, and what is right and predicted as places among them, int64 [rows]."""
    right, predicted = classes("labels", labels), classes("predictions", predictions)
    check_lengths(labels=right, predictions=predicted)
    if (right.dtype.kind == "U") != (predicted.dtype.kind == "U"):
        raise UserError(f"labels are {right.dtype}, predictions {predicted.dtype}; allowed: both strings, or integers")
    names, codes = np.unique(np.concatenate([right, predicted]), return_inverse=True)
    return names, codes[: len(right)], codes[len(right) :]


def _paired_numbers(labels: Values, predictions: Values) -> tuple[np.ndarray, np.ndarray]:
    right, predicted = numbers("labels", labels), numbers("predictions", predictions)
    check_lengths(labels=right, predictions=predicted)
    return right, predicted
