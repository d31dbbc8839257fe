"""Metrics of two systems, against loops that compute them one sample at a time."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

from m5jax.evaluation.differences import Measured, Resampling, families_of, measure
from m5jax.evaluation.matching import match
from m5jax.evaluation.prediction_columns import KINDS
from m5jax.evaluation.predictions import Predictions, make_predictions
from tests.evaluation.evaluation_examples import COLUMNS_OF, pair_predictions

UNITS = 40


def measure_both(
    first: Predictions, second: Predictions, samples: int = 30, seed: int = 3
) -> tuple[dict[str, Measured], list[str]]:
    answers = match(first, second)
    families = families_of(first.kind, answers.first, answers.second)
    return measure(families, first.settings, answers.first, answers.second, Resampling(samples, seed))


def measured(first: Predictions, second: Predictions, samples: int = 30) -> dict[str, Measured]:
    values, left_out = measure_both(first, second, samples)
    assert left_out == []
    return values


def one_group(kind: str, **columns: Any) -> Predictions:
    units = {"unit": [f"{row:03}" for row in range(UNITS)], "group": ["en"] * UNITS}
    return make_predictions(kind, "f", units | columns)


def naive_bootstrap(
    metric: Callable[[np.ndarray, np.ndarray], float],
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    samples: int,
    seed: int,
) -> tuple[float, float]:
    """Returns the paired bootstrap's 95% interval, by a loop."""
    generator = np.random.default_rng(seed)
    differences = []
    for _ in range(samples):
        rows = generator.integers(0, len(labels), len(labels))
        differences.append(metric(labels[rows], second[rows]) - metric(labels[rows], first[rows]))
    low, high = np.quantile(differences, [0.025, 0.975])
    return float(low), float(high)


def classes(seed: int, right: float) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array(["a", "b", "c"])[np.arange(UNITS) % 3]
    generator = np.random.default_rng(seed)
    return labels, np.where(generator.uniform(size=UNITS) < right, labels, generator.choice(["a", "b"], UNITS))


def test_the_interval_is_that_of_a_naive_loop() -> None:
    labels, first = classes(0, 0.9)
    _, second = classes(1, 0.5)
    found = measured(*(one_group("classification", label=labels, predicted=side) for side in (first, second)), 200)
    for name, metric in (
        ("accuracy", reference.accuracy_score),
        ("weighted_f1", lambda wanted, said: reference.f1_score(wanted, said, average="weighted", zero_division=0)),
    ):
        value = found[name]
        assert value.first == pytest.approx(metric(labels, first))
        assert value.second == pytest.approx(metric(labels, second))
        assert value.difference.value == pytest.approx(value.second - value.first)
        interval = naive_bootstrap(metric, labels, first, second, 200, 3)
        assert (value.difference.low, value.difference.high) == pytest.approx(interval)


def test_the_interval_of_a_mean_is_that_of_a_naive_loop() -> None:
    targets = np.array([f"text {row}" for row in range(UNITS)], object)
    generator = np.random.default_rng(0)
    first, second = (np.where(generator.uniform(size=UNITS) < share, targets, "else") for share in (0.7, 0.4))
    found = measured(*(one_group("text", target=targets, predicted=side) for side in (first, second)), 100)

    def exact(wanted: np.ndarray, said: np.ndarray) -> float:
        return float((wanted == said).mean())

    value = found["exact_match"]
    assert (value.first, value.second) == pytest.approx((exact(targets, first), exact(targets, second)))
    interval = naive_bootstrap(exact, targets, first, second, 100, 3)
    assert (value.difference.low, value.difference.high) == pytest.approx(interval)


def test_the_p_value_is_that_of_all_swaps() -> None:
    targets = np.array([f"text {row}" for row in range(9)], object)
    right = np.array([[1, 1, 1, 1, 1, 1, 0, 1, 0], [1, 0, 0, 0, 1, 0, 1, 0, 0]], bool)
    units = {"unit": [str(row) for row in range(9)], "group": ["en"] * 9, "target": targets}
    sides = [make_predictions("text", "f", units | {"predicted": np.where(row, targets, "")}) for row in right]
    gains = right[1].astype(float) - right[0]
    swapped = [gains @ signs for signs in itertools.product([-1, 1], repeat=9)]
    exact = np.mean(np.abs(swapped) >= abs(gains.sum()) - 1e-9)
    found = measured(*sides, samples=20_000)["exact_match"].difference.p_value
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact / 20_000))


@pytest.mark.parametrize("kind", KINDS)
def test_a_system_does_not_differ_from_itself(kind: str) -> None:
    if kind in ("pairs", "clicks"):
        predictions = pair_predictions(kind=kind, units=30)
    elif kind == "regression":
        predictions = one_group(kind, label=np.arange(UNITS) * 1.5, score=np.sin(np.arange(UNITS)))
    else:
        predictions = make_predictions(kind, "f", COLUMNS_OF[kind])
    found = measured(predictions, predictions)
    assert found
    for value in found.values():
        assert value.first == value.second
        assert value.difference.value == 0
        assert value.difference.low in (0, None)
        assert value.difference.p_value in (1, None)


def test_pairs_have_the_metrics_of_scikit_learn() -> None:
    first, second = (pair_predictions(seed, noise, 60) for seed, noise in ((0, 0.5), (1, 2.0)))
    found = measured(first, second)
    for side, predictions in enumerate((first, second)):
        labels, scores, taken = (predictions.table[name].to_numpy() for name in ("label", "score", "predicted"))
        expected = {
            "auc": reference.roc_auc_score(labels, scores),
            "average_precision": reference.average_precision_score(labels, scores),
            "f1": reference.f1_score(labels, taken),
            "precision": reference.precision_score(labels, taken),
            "recall": reference.recall_score(labels, taken),
        }
        assert {name: found[name][side] for name in expected} == pytest.approx(expected)
    assert "expected_calibration_error" in found


def scaled(predictions: Predictions, scale: float, shift: float) -> Predictions:
    columns = predictions.table.to_pydict()
    columns["score"] = [scale * score + shift for score in columns["score"]]
    return make_predictions(predictions.kind, predictions.fingerprint, columns)


def test_another_scale_of_scores_changes_nothing_but_calibration() -> None:
    first, second = pair_predictions(0, 1.0, 60), pair_predictions(1, 1.0, 60)
    plain, other = measured(first, second), measured(first, scaled(second, 300.0, -50.0))
    assert plain.keys() - other.keys() == {"expected_calibration_error"}
    assert other == {name: plain[name] for name in other}


def test_a_group_without_positives_keeps_the_reason() -> None:
    predictions = make_predictions("pairs", "f", COLUMNS_OF["pairs"] | {"label": [0, 0, 0]})
    values, left_out = measure_both(predictions, predictions)
    assert values == {}
    assert len(left_out) == 2
    assert all("positive" in reason for reason in left_out)


def test_the_errors_of_a_constant_are_measured_but_not_its_correlation() -> None:
    predictions = one_group("regression", label=np.arange(UNITS) * 1.0, score=[1.0] * UNITS)
    values, left_out = measure_both(predictions, predictions)
    assert set(values) == {"mae", "rmse"}
    assert len(left_out) == 1


def search_of(ranks: dict[str, list[str]], weights: dict[str, float], settings: dict[str, Any]) -> Predictions:
    """Returns predictions of rankings, where documents "r..." are relevant, and each query has r1 and r2."""
    rows = []
    for query, found in ranks.items():
        rows += [(query, document, float(9 - rank), rank) for rank, document in enumerate(found, 1)]
        rows += [(query, document, None, None) for document in ("r1", "r2") if document not in found]
    queries, documents, scores, places = zip(*rows, strict=True)
    columns = {
        "query": queries,
        "document": documents,
        "group": ["en"] * len(rows),
        "grade": [2.0 if document == "r1" else 1.0 if document == "r2" else 0.0 for document in documents],
        "score": scores,
        "rank": places,
        "weight": [weights[query] for query in queries],
    }
    return make_predictions("search", "f", columns, settings)


def test_search_is_of_queries_alike_and_by_their_weights_and_counts_what_was_not_found() -> None:
    weights = {"a": 1.0, "b": 3.0}
    settings = {"cutoffs": [1, 2], "relevant_from": 1.0, "gain": "exponential"}
    first = search_of({"a": ["x", "r1"], "b": ["r2"]}, weights, settings)
    second = search_of({"a": ["r1", "r2"], "b": ["x", "y"]}, weights, settings)
    found = measured(first, second)
    assert (found["recall@2"].first, found["recall@2"].second) == pytest.approx((0.5, 0.5))
    assert (found["weighted_recall@2"].first, found["weighted_recall@2"].second) == pytest.approx((0.5, 0.25))
    assert (found["mrr"].first, found["mrr"].second) == pytest.approx((0.75, 0.5))
    assert (found["weighted_mrr"].first, found["weighted_mrr"].second) == pytest.approx((0.25 * 0.5 + 0.75, 0.25))
    ideal = 3 + 1 / np.log2(3)
    assert found["weighted_ndcg@2"].first == pytest.approx((0.25 * 3 / np.log2(3) + 0.75) / ideal)
    assert found["weighted_ndcg@2"].second == pytest.approx(0.25)
    assert "ndcg@10" not in found


def test_equal_scores_are_ranked_as_the_ranks_say() -> None:
    columns = {
        "query": ["q", "q"], "document": ["1", "2"], "group": ["en"] * 2, "grade": [0.0, 1.0], "score": [0.5, 0.5],
        "weight": [1.0, 1.0],
    }  # fmt: skip
    sides = [make_predictions("search", "f", columns | {"rank": ranks}) for ranks in ([1, 2], [2, 1])]
    found = measured(*sides)
    assert (found["mrr"].first, found["mrr"].second) == (0.5, 1.0)
    assert "weighted_mrr" not in found


def test_what_is_hidden_is_measured_by_text() -> None:
    """The paired bootstrap draws texts: all that is hidden of one, or nothing."""
    generator = np.random.default_rng(0)
    texts = np.sort(np.arange(UNITS * 3) % UNITS)
    columns = {
        "unit": [f"{text:03}" for text in texts],
        "group": ["en"] * len(texts),
        "hidden": ["word"] * len(texts),
        "place": np.arange(len(texts)) % 3,
        "attribute": [""] * len(texts),
        "target": ["word" * (1 + number % 4) for number in range(len(texts))],
        "predicted": [""] * len(texts),
    }
    right = [generator.random(len(texts)) < share for share in (0.4, 0.6)]
    losses = [generator.random(len(texts)) for _ in range(2)]
    sides = [
        make_predictions("masked", "f", columns | {"correct": own, "loss": loss})
        for own, loss in zip(right, losses, strict=True)
    ]
    found = measured(*sides, samples=100)
    lengths = np.array([len(target) for target in columns["target"]])
    draws = np.random.default_rng(3)
    drawn = [np.concatenate([np.flatnonzero(texts == unit) for unit in draws.integers(0, UNITS, UNITS)])
             for _ in range(100)]  # fmt: skip
    for name, values, counts in (
        ("word_accuracy", right, np.ones(len(texts))),
        ("nats_per_character", losses, lengths),
    ):
        one, other = (own.sum() / counts.sum() for own in values)
        assert (found[name].first, found[name].second) == pytest.approx((one, other))
        gains = [(values[1][rows].sum() - values[0][rows].sum()) / counts[rows].sum() for rows in drawn]
        low, high = np.quantile(gains, [0.025, 0.975])
        assert (found[name].difference.low, found[name].difference.high) == pytest.approx((low, high))
        assert found[name].difference.count == UNITS
    assert found.keys() == {"word_accuracy", "nats_per_character"}


def test_understanding_has_intents_and_slots() -> None:
    columns = COLUMNS_OF["understanding"]
    better = columns | {"predicted_intent": ["buy", "ask"], "predicted_tags": columns["tags"]}
    found = measured(*(make_predictions("understanding", "f", of) for of in (columns, better)))
    assert {name: (value.first, value.second) for name, value in found.items()} == {
        "intent_accuracy": (0.5, 1.0),
        "slot_f1": (0.0, 1.0),
        "semer": (pytest.approx(2 / 3), 0.0),
        "irer": (1.0, 0.0),
    }
