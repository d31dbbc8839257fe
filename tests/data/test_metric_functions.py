"""Metric functions of tasks, against scikit-learn and counting by hand."""

import numpy as np
import pytest
from sklearn import metrics

from m5jax.data.metric_functions import accuracy, click_ranking, duplicate_f1, exact_match, macro_f1, span_f1

GENERATOR = np.random.default_rng(0)
TARGETS = [[str(label)] for label in GENERATOR.integers(0, 4, 200)]
PREDICTIONS = [[str(label)] for label in GENERATOR.integers(0, 5, 200)]


def flat(answers: list[list[str]]) -> list[str]:
    return [labels[-1] for labels in answers]


def test_labels_against_scikit_learn() -> None:
    expected = metrics.accuracy_score(flat(TARGETS), flat(PREDICTIONS))
    assert accuracy(TARGETS, PREDICTIONS) == {"label_accuracy": pytest.approx(expected)}
    by_hand = []
    for label in "0123":
        right = sum(t == p == [label] for t, p in zip(TARGETS, PREDICTIONS, strict=True))
        by_hand.append(2 * right / (TARGETS.count([label]) + PREDICTIONS.count([label])))
    assert macro_f1(TARGETS, PREDICTIONS) == {"macro_f1": pytest.approx(np.mean(by_hand))}


def test_duplicates() -> None:
    targets = [["duplicate"]] * 3 + [["different"]] * 5
    predictions = [["duplicate"], ["different"], ["duplicate"], ["duplicate"], *[["different"]] * 4]
    assert duplicate_f1(targets, predictions) == pytest.approx({"f1": 2 / 3, "precision": 2 / 3, "recall": 2 / 3})
    assert duplicate_f1(targets, [["different"]] * 8)["f1"] == 0.0


def test_clicks_against_scikit_learn() -> None:
    clicked = GENERATOR.random(300) < 0.2
    odds = GENERATOR.normal(size=300)
    targets = [["click"] if click else ["no click"] for click in clicked]
    found = click_ranking(targets, odds.tolist())
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(clicked, odds))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(clicked, 1 / (1 + np.exp(-odds))))
    assert click_ranking([["click"]] * 3, [0.1, 0.2, 0.3])["auc"] == 0.5


def test_spans_count_where_words_and_name_are_right() -> None:
    targets = [["O", "B-a", "I-a", "O", "find"], ["B-b", "B-a", "find"]]
    predictions = [["O", "B-a", "O", "B-b", "buy"], ["B-b", "B-a", "find"]]
    # 3 spans wanted, 4 found, 2 right.
    assert span_f1(targets, predictions) == {"span_f1": pytest.approx(4 / 7)}
    assert span_f1([["O"]], [["O"]]) == {"span_f1": 1.0}
    assert exact_match(targets, predictions) == {"exact_match": 0.5}
