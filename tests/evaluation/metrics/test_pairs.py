"""Scores of pairs, against scikit-learn and by counting."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.calibration import calibration_curve

from m5jax.errors import UserError
from m5jax.evaluation.metrics.pairs import (
    area_under_curve,
    best_f1_threshold,
    decision_metrics,
    expected_calibration_error,
    pair_metrics,
    precision_recall_points,
    ranking_metrics,
    reliability_points,
)

Rows = list[tuple[bool, float]]

scored = st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0]))
rows_with_ties = st.lists(scored, min_size=1, max_size=20)
GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.random(3000) < 0.2
SCORES = np.clip(GENERATOR.normal(0.3 + 0.3 * LABELS, 0.2).round(2), 0, 1)


def columns(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    return np.array([label for label, _ in rows]), np.array([score for _, score in rows])


def exactly(value: float) -> object:
    return pytest.approx(value, rel=0, abs=1e-12)


def naive_recall(labels: np.ndarray, scores: np.ndarray, precision: float) -> float:
    """The highest recall of all thresholds at a precision."""
    best = 0.0
    for threshold in scores:
        taken = scores >= threshold
        if metrics.precision_score(labels, taken) >= precision:
            best = max(best, metrics.recall_score(labels, taken))
    return best


@example([(True, 0.5), (False, 0.0)], 0.3)
@example([(True, 0.5), (False, 0.0)], 2.0)
@given(rows_with_ties, st.sampled_from([0.0, 0.25, 0.3, 2.0]))
def test_metrics_with_ties_equal_those_of_scikit_learn(rows: Rows, threshold: float) -> None:
    labels, scores = columns(rows)
    assume(0 < labels.sum() < len(labels))
    positive, negative = scores[labels][:, None], scores[~labels]
    expected = {
        "auc": metrics.roc_auc_score(labels, scores),
        "average_precision": metrics.average_precision_score(labels, scores),
        "recall_at_precision_90": naive_recall(labels, scores, 0.90),
        "recall_at_precision_95": naive_recall(labels, scores, 0.95),
        "f1": metrics.f1_score(labels, scores >= threshold),
        "precision": metrics.precision_score(labels, scores >= threshold, zero_division=0),
        "recall": metrics.recall_score(labels, scores >= threshold),
    }
    assert expected["auc"] == exactly(((positive > negative) + (positive == negative) / 2).mean())
    found = pair_metrics(labels, scores, threshold)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == exactly(value), name
        assert type(found[name]) is float


@given(st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=1), st.sampled_from([0.0, 0.3, 2.0]))
def test_without_negatives_only_decisions_are_measured(scores: list[float], threshold: float) -> None:
    taken = np.array(scores) >= threshold
    labels = np.ones(len(scores), bool)
    assert pair_metrics(labels, scores, threshold) == {
        "f1": exactly(metrics.f1_score(labels, taken)),
        "precision": exactly(metrics.precision_score(labels, taken, zero_division=0)),
        "recall": exactly(taken.mean()),
    }


def test_a_precision_that_is_just_reached_counts() -> None:
    # 9 of 10, then 11 of 18 with all of the positives.
    labels, scores = [1] * 9 + [0] + [1] * 2 + [0] * 6, [0.8] * 10 + [0.2] * 8
    found = ranking_metrics(labels, scores)
    assert found["recall_at_precision_90"] == exactly(9 / 11)
    assert found["recall_at_precision_95"] == 0


@given(rows_with_ties)
def test_no_threshold_has_a_higher_f1_and_no_higher_one_the_same(rows: Rows) -> None:
    labels, scores = columns(rows)
    assume(labels.any())
    best = best_f1_threshold(labels, scores)
    # By F1, then by threshold; float64 quotients of whole numbers are equal where the quotients are.
    by_threshold = {
        score: 2 * (labels & (scores >= score)).sum() / (labels.sum() + (scores >= score).sum()) for score in scores
    }
    assert best == max(by_threshold, key=lambda score: (by_threshold[score], score))
    assert metrics.f1_score(labels, scores >= best) == exactly(max(by_threshold.values()))


def test_of_equally_good_thresholds_the_highest_is_chosen() -> None:
    # 2 / 3 with one pair taken, and with four of which two are right.
    assert best_f1_threshold([1, 0, 0, 1], [0.9, 0.5, 0.4, 0.3]) == 0.9


def naive_calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int) -> float:
    # The very quotients of scikit-learn: an edge that is a probability but for its last digit moves it to another bin.
    edges = np.percentile(probabilities, np.linspace(0, 1, bins + 1) * 100)[1:-1]
    own = [sum(probability > edge for edge in edges) for probability in probabilities]
    total = 0.0
    for index in set(own):
        inside = np.array(own) == index
        total += inside.mean() * abs(labels[inside].mean() - probabilities[inside].mean())
    return total


@given(rows_with_ties, st.sampled_from([1, 2, 3, 10]))
def test_calibration_with_ties_equals_that_of_scikit_learn(rows: Rows, bins: int) -> None:
    labels, probabilities = columns(rows)
    observed, predicted = calibration_curve(labels, probabilities, pos_label=True, n_bins=bins, strategy="quantile")
    found = reliability_points(labels, probabilities, bins)
    np.testing.assert_allclose(found[0], predicted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[1], observed, rtol=0, atol=1e-12)
    assert found[2].sum() == len(rows)
    expected = naive_calibration_error(labels, probabilities, bins)
    assert expected_calibration_error(labels, probabilities, bins) == exactly(expected)


def test_bins_hold_equally_many() -> None:
    counts = reliability_points(GENERATOR.random(600) < 0.5, GENERATOR.random(600), bins=15)[2]
    assert counts.tolist() == [40] * 15


def test_the_order_of_pairs_does_not_matter() -> None:
    order = GENERATOR.permutation(len(LABELS))
    for function in (expected_calibration_error, best_f1_threshold, lambda *rows: ranking_metrics(*rows)["auc"]):
        assert function(LABELS, SCORES) == exactly(function(LABELS[order], SCORES[order]))


def test_points_lie_on_the_curve_and_keep_its_ends() -> None:
    precision, recall, _ = metrics.precision_recall_curve(LABELS, SCORES)
    found = precision_recall_points(LABELS, SCORES, most=30)
    assert len(found[0]) == 30
    assert (np.diff(found[0]) >= 0).all()
    assert (found[0][0], found[1][0]) == (0, 1)
    assert (found[0][-1], found[1][-1]) == (1, exactly(LABELS.mean()))
    assert set(zip(*found, strict=True)) <= set(zip(recall, precision, strict=True))
    whole = precision_recall_points(LABELS, SCORES, most=500)
    np.testing.assert_array_equal(whole, [recall[::-1], precision[::-1]])


def test_labels_may_be_numbers_and_scores_float32() -> None:
    found = pair_metrics(LABELS.astype(int).tolist(), SCORES.astype(np.float32), 0.5)
    assert found["auc"] == exactly(pair_metrics(LABELS, SCORES, 0.5)["auc"])


ALL_WRONG = [
    (pair_metrics, ([0, 0], [0.1, 0.2], 0.5), "0 of 2 labels are positive; needed: at least one positive and one neg"),
    (ranking_metrics, ([1, 1], [0.1, 0.2]), "2 of 2 labels are positive"),
    (pair_metrics, ([1, 0, 1], [0.1, 0.2], 0.5), "labels 3, scores 2"),
    (pair_metrics, ([1, 0], [0.1, np.nan], 0.5), "scores of row 1 is nan; allowed: finite numbers"),
    (pair_metrics, ([1, 0], [-np.inf, 0.1], 0.5), "scores of row 0 is -inf"),
    (pair_metrics, ([1, 0], [0.1, 0.2], np.nan), "thresholds of row 0 is nan"),
    (pair_metrics, ([1, 2], [0.1, 0.2], 0.5), "labels hold '2'; allowed: 0 and 1"),
    (pair_metrics, ([1, np.nan], [0.1, 0.2], 0.5), "labels hold 'nan'"),
    (pair_metrics, (["duplicate", "different"], [0.1, 0.2], 0.5), "labels hold 'duplicate'; allowed: 0 and 1"),
    (pair_metrics, ([1, 0], ["high", "low"], 0.5), "scores must be one number a row"),
    (pair_metrics, ([], [], 0.5), r"of shape \[0\]; allowed: \[rows\], at least one"),
    (pair_metrics, ([[1, 0]], [[0.1, 0.2]], 0.5), r"of shape \[1, 2\]"),
    (decision_metrics, ([0, 0], [1, 0]), "0 of 2 labels are positive; needed: at least one positive"),
    (area_under_curve, ([1, 1], [0.1, 0.2]), "2 of 2 labels are positive"),
    (best_f1_threshold, ([0, 0], [0.1, 0.2]), "0 of 2 labels are positive"),
    (precision_recall_points, ([0, 0], [0.1, 0.2]), "0 of 2 labels are positive"),
    (expected_calibration_error, ([0, 1], [0.1, 1.2]), "probabilities go from 0.1 to 1.2; allowed: probabilities, 0"),
    (expected_calibration_error, ([0, 1], [-0.1, 0.2]), "probabilities go from -0.1 to 0.2"),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("function", "arguments", "message"), ALL_WRONG)
def test_what_cannot_be_measured_is_refused(function: object, arguments: tuple, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        function(*arguments)  # type: ignore[operator]
    assert "\n" not in str(raised.value)
