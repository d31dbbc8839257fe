"""Labels, numbers and clicks, against scikit-learn, SciPy and by hand."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from m5jax.errors import UserError
from m5jax.evaluation.metrics.classification import (
    classification_metrics,
    click_metrics,
    confusion_matrix,
    correlation_metrics,
    error_metrics,
    regression_metrics,
)
from m5jax.evaluation.metrics.pairs import expected_calibration_error

names = st.sampled_from(["shoes", "shirts", "Ärmel", "other", ""])
labelled = st.lists(st.tuples(names, names), min_size=1)
numeric = st.sampled_from([-2.0, 0.0, 0.5, 1.0, 1 / 3, 7.0])
clicks = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 1e-9, 0.1, 0.3, 0.9, 1.0])), min_size=1)


def exactly(value: float) -> object:
    return pytest.approx(value, rel=0, abs=1e-12)


@given(labelled)
def test_f1_and_accuracy_equal_those_of_scikit_learn(rows: list[tuple[str, str]]) -> None:
    labels, predictions = [label for label, _ in rows], [prediction for _, prediction in rows]
    there = sorted(set(labels))
    assert classification_metrics(labels, predictions) == {
        "accuracy": exactly(metrics.accuracy_score(labels, predictions)),
        "macro_f1": exactly(metrics.f1_score(labels, predictions, average="macro", labels=there, zero_division=0)),
        "micro_f1": exactly(metrics.f1_score(labels, predictions, average="micro")),
        "weighted_f1": exactly(metrics.f1_score(labels, predictions, average="weighted", zero_division=0)),
    }


def test_labels_may_be_integers_or_objects() -> None:
    found = classification_metrics(np.array([3, 1, 1]), np.array([3, 1, 2]))
    assert found == classification_metrics(["c", "a", "a"], np.array(["c", "a", "b"], object))
    assert type(found["accuracy"]) is float


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(labelled)
def test_the_whole_confusion_matrix_equals_that_of_scikit_learn(rows: list[tuple[str, str]]) -> None:
    labels, predictions = [label for label, _ in rows], [prediction for _, prediction in rows]
    shown, counts = confusion_matrix(labels, predictions)
    np.testing.assert_array_equal(counts, metrics.confusion_matrix(labels, predictions, labels=shown))
    assert list(shown) == sorted({*labels, *predictions}, key=lambda name: (-labels.count(name), name))


@given(labelled, st.integers(1, 3))
def test_rare_labels_are_counted_together(rows: list[tuple[str, str]], most: int) -> None:
    labels, predictions = [label for label, _ in rows], [prediction for _, prediction in rows]
    assume(len({*labels, *predictions}) > most)
    shown, counts = confusion_matrix(labels, predictions, most)
    kept = shown[:most]
    assert shown[most:] == ("all other" if "other" in kept else "other",)
    pooled = [[name if name in kept else shown[-1] for name in column] for column in (labels, predictions)]
    np.testing.assert_array_equal(counts, metrics.confusion_matrix(*pooled, labels=shown))
    assert counts.dtype == np.int64


@given(st.lists(st.tuples(numeric, numeric), min_size=2))
def test_regression_with_ties_equals_the_references(rows: list[tuple[float, float]]) -> None:
    labels, predictions = np.array(rows).T
    assume(np.ptp(labels) and np.ptp(predictions))
    expected = {
        "mae": metrics.mean_absolute_error(labels, predictions),
        "rmse": metrics.root_mean_squared_error(labels, predictions),
        "pearson": np.corrcoef(labels, predictions)[0, 1],
        "spearman": stats.spearmanr(labels, predictions).statistic,
    }
    assert regression_metrics(labels, predictions) == {name: exactly(value) for name, value in expected.items()}


def test_errors_are_defined_where_correlations_are_not() -> None:
    assert error_metrics([1, 2, 3], [2, 2, 2]) == {"mae": exactly(2 / 3), "rmse": exactly(np.sqrt(2 / 3))}
    with pytest.raises(UserError, match="all 3 predictions are 2; a correlation needs at least two values"):
        correlation_metrics([1, 2, 3], [2, 2, 2])
    assert regression_metrics([1, 1], [2, 4]) == {"mae": exactly(2), "rmse": exactly(np.sqrt(5))}


def naive_normalized_entropy(clicked: np.ndarray, predicted: np.ndarray) -> float:
    """Equation 1 of He et al. 2014, whose labels are -1 and 1."""
    signs = np.where(clicked, 1, -1)
    loss = -np.mean((1 + signs) / 2 * np.log(predicted) + (1 - signs) / 2 * np.log(1 - predicted))
    rate = clicked.mean()
    return loss / -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))


@given(clicks)
def test_clicks_with_ties_equal_those_of_scikit_learn(rows: list[tuple[bool, float]]) -> None:
    clicked, predicted = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    assume(0 < clicked.sum() < len(clicked))
    found = click_metrics(clicked, predicted)
    assert found["auc"] == exactly(metrics.roc_auc_score(clicked, predicted))
    assert found["log_loss"] == exactly(metrics.log_loss(clicked, predicted))
    assert found["calibration"] == exactly(predicted.sum() / clicked.sum())
    assert found["expected_calibration_error"] == exactly(expected_calibration_error(clicked, predicted))
    inside = np.clip(predicted, 2.0**-52, 1 - 2.0**-52)
    assert found["normalized_entropy"] == pytest.approx(naive_normalized_entropy(clicked, inside), rel=1e-12)


def test_always_predicting_the_rate_has_a_normalized_entropy_of_one() -> None:
    clicked = np.arange(10) < 3
    found = click_metrics(clicked, np.full(10, 0.3))
    assert found["normalized_entropy"] == exactly(1.0)
    assert found["calibration"] == exactly(1.0)
    assert found["auc"] == 0.5
    assert found["expected_calibration_error"] == exactly(0.0)


ALL_WRONG = [
    (classification_metrics, (["a"], ["a", "b"]), "labels 1, predictions 2"),
    (classification_metrics, ([], []), r"labels are of shape \[0\]"),
    (classification_metrics, ([0.5], [1.5]), "labels are of type float64; allowed: strings, or integers"),
    (classification_metrics, (["a"], np.array([None])), "predictions are of type object; allowed: strings"),
    (classification_metrics, (["1"], [1]), "labels are <U1, predictions int64; allowed: both strings, or integers"),
    (confusion_matrix, (["a"], ["a"], 0), "of 0 labels shows nothing; allowed: 1 and above"),
    (regression_metrics, ([1, 2], [1, np.nan]), "predictions of row 1 is nan"),
    (regression_metrics, ([1, 2], [1, 2, 3]), "labels 2, predictions 3"),
    (click_metrics, ([0, 0], [0.1, 0.2]), "0 of 2 labels are positive"),
    (click_metrics, ([1, 1], [0.1, 0.2]), "2 of 2 labels are positive"),
    (click_metrics, ([1, 0], [0.1, 3]), "probabilities go from 0.1 to 3"),
    (click_metrics, (["click", "no click"], [0.1, 0.3]), "labels hold 'click'"),
    (click_metrics, ([1, 0, 0], [0.1, 0.3]), "labels 3, probabilities 2"),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("function", "arguments", "message"), ALL_WRONG)
def test_what_cannot_be_measured_is_refused(function: object, arguments: tuple, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        function(*arguments)  # type: ignore[operator]
    assert "\n" not in str(raised.value)
