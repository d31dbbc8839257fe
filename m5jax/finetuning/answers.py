"""From a model's outputs to answers a person can read, and to the metrics of a task's kind."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import expit, softmax

from m5jax.data.labelled_examples import OUTSIDE
from m5jax.evaluation.metrics.checks import check_positives
from m5jax.evaluation.metrics.classification import classification_metrics, click_metrics, regression_metrics
from m5jax.evaluation.metrics.pairs import best_f1_threshold, expected_calibration_error, pair_metrics
from m5jax.evaluation.metrics.understanding import count_utterances, understanding_metrics
from m5jax.finetuning.examples import Example
from m5jax.finetuning.rows import NO_TAG, Rows, SequenceRows
from m5jax.finetuning.scoring import Outputs
from m5jax.finetuning.tasks import JointTask, Labels, Task, TwoTowerTask

# By which of a kind's metrics the best checkpoint is chosen, and whether it is to be large.
SELECTED = {
    "pairs": ("f1", True),
    "clicks": ("log_loss", False),
    "classification": ("accuracy", True),
    "regression": ("rmse", False),
    "understanding": ("semer", False),
    "text": ("exact_match", True),
}


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a model says of examples, in their order; empty where the kind has no such answers.

    Attributes:
      scores: float64 [examples]: logits of a yes, a number, or how likely the class is.
      classes: of each.
      tags: of the words of each.
      texts: written for each.
    """

    scores: np.ndarray
    classes: tuple[str, ...] = ()
    tags: tuple[tuple[str, ...], ...] = ()
    texts: tuple[str, ...] = ()


def make_answers(outputs: Outputs, rows: Rows, examples: Sequence[Example], labels: Labels) -> Answers:
    """Returns the answers in a model's outputs on the rows of examples."""
    if outputs.logits is not None:
        return Answers(np.asarray(outputs.logits, np.float64))
    assert outputs.classes is not None
    assert isinstance(rows, SequenceRows)
    shares = softmax(np.asarray(outputs.classes, np.float64), axis=1)
    classes = tuple(labels.classes[number] for number in shares.argmax(axis=1))
    tags: tuple[tuple[str, ...], ...] = ()
    if outputs.tags is not None:
        tags = tuple(
            _word_tags(own, rows, index, len(example.texts), labels)
            for index, (own, example) in enumerate(zip(outputs.tags, examples, strict=True))
        )
    return Answers(shares.max(axis=1), classes, tags)


def _word_tags(predicted: np.ndarray, rows: SequenceRows, index: int, words: int, labels: Labels) -> tuple[str, ...]:
    """Returns the tag at the first token of each word; words that were cut are outside of all slots."""
    assert rows.tags is not None
    own = rows.tags.tokens[rows.tags.starts[index] : rows.tags.starts[index + 1]]
    found = [labels.tags[number] for number in predicted[: len(own)][own != NO_TAG]]
    return (*found, *[OUTSIDE] * (words - len(found)))


def fits(task: Task, examples: Sequence[Example]) -> np.ndarray:
    """Returns bool [examples], which pairs fit."""
    assert isinstance(task, (TwoTowerTask, JointTask))
    return np.array([float(example.label or 0.0) >= task.labels.least_fit for example in examples])


def measure(
    task: Task, examples: Sequence[Example], answers: Answers, threshold: float | None = None
) -> dict[str, float]:
    """Returns the metrics of the task's kind, and for pairs without a threshold the one of the highest F1 on these very
    examples, which is for validation data.

    Raises:
      UserError: the examples do not let a metric be computed: no pair fits; or all do, and are clicks or without a
        threshold.
    """
    everything = np.arange(len(examples))
    if task.kind != "pairs" or threshold is not None:
        return measurer(task, examples, answers, threshold)(everything)
    positive = fits(task, examples)
    check_positives(positive, negatives=True)
    least = best_f1_threshold(positive, answers.scores)
    return measurer(task, examples, answers, least)(everything) | {"threshold": least}


def measurer(
    task: Task, examples: Sequence[Example], answers: Answers, threshold: float | None
) -> Callable[[np.ndarray], dict[str, float]]:
    """Returns a function from rows, int [rows], to the metrics of these examples; see `measure`."""
    labels, scores = [example.label for example in examples], answers.scores
    wanted = np.array(list(map(str, labels)), dtype=object)
    if isinstance(task, (TwoTowerTask, JointTask)):
        positive, shares = fits(task, examples), expit(scores)
        if task.kind == "clicks":
            return lambda rows: click_metrics(positive[rows], shares[rows])
        least = 0.0 if threshold is None else threshold
        return lambda rows: (
            pair_metrics(positive[rows], scores[rows], least)
            | {"expected_calibration_error": expected_calibration_error(positive[rows], shares[rows])}
        )
    if task.kind == "regression":
        numbers = np.array([float(label or 0.0) for label in labels])
        return lambda rows: regression_metrics(numbers[rows], scores[rows])
    if task.kind == "understanding":
        tags = [example.tags for example in examples]
        counts = count_utterances(list(wanted), answers.classes, tags, answers.tags)
        return lambda rows: understanding_metrics(counts.take(rows))
    if task.kind == "classification":
        classes = np.array(answers.classes, dtype=object)
        return lambda rows: classification_metrics(list(wanted[rows]), list(classes[rows]))
    exact = wanted == np.array(answers.texts, dtype=object)
    return lambda rows: {"exact_match": float(exact[rows].mean())}
