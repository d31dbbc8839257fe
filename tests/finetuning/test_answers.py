"""From outputs to answers, and from answers to the metrics of each kind of task."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from m5jax.errors import UserError
from m5jax.evaluation.metrics.names import LESS_IS_BETTER
from m5jax.finetuning.answers import SELECTED, Answers, fits, make_answers, measure
from m5jax.finetuning.examples import Example
from m5jax.finetuning.rows import NO_TAG, UNKNOWN_TAG, Padded, SequenceRows
from m5jax.finetuning.scoring import Outputs
from m5jax.finetuning.tasks import (
    ClassificationTask,
    JointTask,
    Labels,
    PairLabels,
    RegressionTask,
    Task,
    TextToTextTask,
    TwoTowerTask,
    UtteranceTask,
)

LABELS = Labels(("a", "b", "c"), ("B-x", "I-x", "O"))


def examples(labels: list[Any], tags: Sequence[tuple[str, ...]] | None = None) -> list[Example]:
    each = tags or [()] * len(labels)
    return [
        Example(f"valid:{i}", ("w",) * len(t), label, t) for i, (label, t) in enumerate(zip(labels, each, strict=True))
    ]


def test_logits_are_scores() -> None:
    outputs = Outputs(logits=np.array([0.5, -1], np.float32), classes=np.array([[0.5], [-1]], np.float32))
    rows = SequenceRows(Padded.of([[1], [2]]), np.zeros(2, np.float32))
    answers = make_answers(outputs, rows, examples([1.0, 0.0]), Labels())
    assert answers.scores.dtype == np.float64
    assert (answers.scores.tolist(), answers.classes, answers.tags) == ([0.5, -1.0], (), ())


def test_the_likeliest_class_is_the_answer_and_its_share_the_score() -> None:
    logits = np.array([[1, 3, 2], [5, 0, 0]], np.float32)
    rows = SequenceRows(Padded.of([[1], [2]]), np.zeros(2, np.int32))
    answers = make_answers(Outputs(classes=logits), rows, examples(["a", "b"]), LABELS)
    assert (answers.classes, answers.tags) == (("b", "a"), ())
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers.scores, shares.max(axis=1), rtol=1e-6)


def test_the_tag_of_a_word_is_that_of_its_first_token_and_of_a_word_that_was_cut_outside() -> None:
    """Whatever other tokens and padding are said to be, and though the right tag is none that training knows."""
    tags = [("B-x", "B-new", "O"), ("O", "O", "B-x")]
    rows = SequenceRows(
        Padded.of([[5, 6, 7, 8, 9, 1], [5, 6, 1]]),
        np.zeros(2, np.int32),
        Padded.of([[0, NO_TAG, UNKNOWN_TAG, NO_TAG, 2, NO_TAG], [2, 2, NO_TAG]]),  # of the second the last is cut
    )
    predicted = [np.array([0, 1, 2, 1, 1, 0, 0, 0]), np.array([1, 0, 1, 1, 1, 1, 1, 1])]
    outputs = Outputs(classes=np.zeros((2, 3), np.float32), tags=predicted)
    answers = make_answers(outputs, rows, examples(["a", "b"], tags), LABELS)
    assert answers.tags == (("B-x", "O", "I-x"), ("I-x", "B-x", "O"))


def test_pairs_fit_from_their_least_grade() -> None:
    task = TwoTowerTask(PairLabels(1.0, 4.0, 3.0))
    assert fits(task, examples([1.0, 2.9, 3.0, 4.0])).tolist() == [False, False, True, True]


PAIRS = examples([1.0, 0.0, 1.0, 0.0])
TAGS = [("B-x", "O"), ("O",)]
RIGHT: dict[str, tuple[Task, list[Example], Answers]] = {
    "pairs": (TwoTowerTask(), PAIRS, Answers(np.array([3.0, -2.0, 4.0, -5.0]))),
    "clicks": (JointTask(clicks=True), PAIRS, Answers(np.array([3.0, -2.0, 4.0, -5.0]))),
    "classification": (ClassificationTask(), examples(["a", "b", "a"]), Answers(np.ones(3), ("a", "b", "a"))),
    "regression": (RegressionTask(), examples([1.0, 2.5, -1.0]), Answers(np.array([1.0, 2.5, -1.0]))),
    "understanding": (UtteranceTask(), examples(["a", "b"], TAGS), Answers(np.ones(2), ("a", "b"), tuple(TAGS))),
    "text": (TextToTextTask(), examples(["x", "y"]), Answers(np.zeros(0), texts=("x", "y"))),
}
WRONG = {
    "pairs": Answers(np.array([-3.0, 2.0, 1.0, 5.0])),
    "clicks": Answers(np.array([-3.0, 2.0, 1.0, 5.0])),
    "classification": Answers(np.ones(3), ("b", "a", "a")),
    "regression": Answers(np.array([0.0, -2.5, 3.0])),
    "understanding": Answers(np.ones(2), ("a", "a"), (("O", "O"), ("B-x",))),
    "text": Answers(np.zeros(0), texts=("x", "z")),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_right_answers_are_better_than_wrong_ones_by_each_metric_that_may_be_selected(kind: str) -> None:
    task, own, right = RIGHT[kind]
    assert task.kind == kind
    good, bad = (measure(task, own, answers, threshold=0.0) for answers in (right, WRONG[kind]))
    assert good.keys() == bad.keys()
    name, largest = SELECTED[kind]
    assert name in good
    assert largest == (name not in LESS_IS_BETTER)
    for name in good.keys() - {"calibration"}:  # which is best at 1
        better = good[name] < bad[name] if name in LESS_IS_BETTER else good[name] > bad[name]
        assert better, name


def test_values_are_those_of_the_definitions() -> None:
    assert measure(*RIGHT["classification"])["accuracy"] == 1.0
    assert measure(*RIGHT["classification"][:2], WRONG["classification"])["accuracy"] == pytest.approx(1 / 3)
    assert measure(*RIGHT["text"][:2], WRONG["text"]) == {"exact_match": 0.5}
    errors = np.array([1.0, 5.0, 4.0])
    assert measure(*RIGHT["regression"][:2], WRONG["regression"])["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    shares = expit(WRONG["clicks"].scores)
    expected = -np.mean([np.log(shares[0]), np.log(1 - shares[1]), np.log(shares[2]), np.log(1 - shares[3])])
    assert measure(*RIGHT["clicks"][:2], WRONG["clicks"])["log_loss"] == pytest.approx(expected)


@pytest.mark.parametrize("task", [TwoTowerTask(), JointTask()])
def test_the_threshold_of_pairs_is_the_best_one_unless_it_is_given(task: Task) -> None:
    answers = Answers(np.array([3.0, 1.0, 2.0, -5.0]))
    own = examples([1.0, 1.0, 0.0, 0.0])
    found = measure(task, own, answers)
    assert found["threshold"] == 1.0
    assert found["f1"] == pytest.approx(0.8)
    given = measure(task, own, answers, threshold=2.5)
    assert "threshold" not in given
    assert (given["precision"], given["recall"]) == (1.0, 0.5)


def test_pairs_that_all_fit_are_measured_by_a_given_threshold() -> None:
    found = measure(TwoTowerTask(), examples([1.0] * 4), Answers(np.array([3.0, -1.0, 2.0, -5.0])), threshold=0.0)
    assert found.keys() == {"f1", "precision", "recall", "expected_calibration_error"}
    assert (found["recall"], found["f1"]) == (0.5, pytest.approx(2 / 3))


@pytest.mark.parametrize("kind", ["pairs", "clicks"])
def test_pairs_of_one_label_cannot_be_measured(kind: str) -> None:
    task = RIGHT[kind][0]
    for label in (0.0, 1.0):
        with pytest.raises(UserError):
            measure(task, examples([label, label]), Answers(np.array([1.0, 2.0])))
