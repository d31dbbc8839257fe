"""Metric functions that tasks declare in SeqIO's registry.

Of each held-out example they get a list of answers: the labels of its words and then its own, or the one text that it
writes; and for `scores` the log-odds of the positive one of two labels. The result maps names to values.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from m5jax.data.labelled_examples import CLICK_LABELS, OUTSIDE, spans_of
from m5jax.data.labelled_records import DUPLICATE

Answers: TypeAlias = Sequence[Sequence[str]]


def accuracy(targets: Answers, predictions: Answers) -> dict[str, float]:
    """The share of examples whose own label is right."""
    return {"label_accuracy": float(np.mean([a[-1] == b[-1] for a, b in zip(targets, predictions, strict=True)]))}


def macro_f1(targets: Answers, predictions: Answers) -> dict[str, float]:
    """The mean of the F1 of each label that is there, whatever its frequency."""
    from sklearn.metrics import f1_score  # slow to import

    score = f1_score(
        _last(targets), _last(predictions), average="macro", labels=sorted(set(_last(targets))), zero_division=0
    )
    return {"macro_f1": float(score)}


def duplicate_f1(targets: Answers, predictions: Answers) -> dict[str, float]:
    """F1, precision and recall of the pairs that are duplicates."""
    from sklearn.metrics import precision_recall_fscore_support

    wanted, found = ([label == DUPLICATE for label in _last(answers)] for answers in (targets, predictions))
    precision, recall, f1, _ = precision_recall_fscore_support(wanted, found, average="binary", zero_division=0)
    return {"f1": float(f1), "precision": float(precision), "recall": float(recall)}


def click_ranking(targets: Answers, scores: Sequence[float]) -> dict[str, float]:
    """Area under the ROC curve (0.5 where there is one label only) and log loss, in nats, of clicks."""
    from sklearn.metrics import roc_auc_score

    clicked = np.array([label == CLICK_LABELS[1] for label in _last(targets)])
    odds = np.array(scores)
    losses = np.logaddexp(0.0, np.where(clicked, -odds, odds))
    area = roc_auc_score(clicked, odds) if 0 < clicked.sum() < len(clicked) else 0.5
    return {"auc": float(area), "log_loss": float(losses.mean())}


def span_f1(targets: Answers, predictions: Answers) -> dict[str, float]:
    """Micro-averaged F1 of whole spans: one counts where its words and its name are right (CoNLL 2003)."""
    wanted, found = [_spans(answers) for answers in targets], [_spans(answers) for answers in predictions]
    right = sum(len(a & b) for a, b in zip(wanted, found, strict=True))
    total = sum(map(len, wanted)) + sum(map(len, found))
    return {"span_f1": 2 * right / total if total else 1.0}


def exact_match(targets: Answers, predictions: Answers) -> dict[str, float]:
    """The share of examples of which all answers are right."""
    return {"exact_match": float(np.mean([list(a) == list(b) for a, b in zip(targets, predictions, strict=True)]))}


def _last(answers: Answers) -> list[str]:
    return [labels[-1] for labels in answers]


def _spans(answers: Sequence[str]) -> set[tuple[str, str]]:
    tags = [(str(place), tag) for place, tag in enumerate(answers) if tag == OUTSIDE or tag.startswith(("B-", "I-"))]
    return {(name, ",".join(places)) for name, places in spans_of(tags)}
