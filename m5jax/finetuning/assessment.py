"""From answers to held-out examples to a report and the predictions behind it."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import expit

from m5jax.errors import UserError
from m5jax.evaluation.estimates import bootstrap
from m5jax.evaluation.metrics.classification import confusion_matrix
from m5jax.evaluation.metrics.pairs import precision_recall_points, reliability_points
from m5jax.evaluation.predictions import Predictions, make_predictions
from m5jax.evaluation.report_data import Curve, EvaluationReport, Group, Line, Matrix
from m5jax.evaluation.report_data import Example as Mistake
from m5jax.finetuning.answers import Answers, fits, measurer
from m5jax.finetuning.examples import Example
from m5jax.finetuning.tasks import JointTask, Task, TwoTowerTask

ALL = "all"
SHOWN = 10  # of the worst mistakes
_CHARACTERS = 300


@dataclasses.dataclass(frozen=True)
class Assessment:
    """Held-out examples, and what a model says of them.

    Attributes:
      task: of the examples.
      examples: with the right answers.
      answers: to them.
      threshold: of pairs' scores, chosen on other data; None where the task has none.
      samples, seed: of the bootstrap.
    """

    task: Task
    examples: Sequence[Example]
    answers: Answers
    threshold: float | None
    samples: int = 1000
    seed: int = 0

    def report(self, title: str, facts: Mapping[str, str]) -> EvaluationReport:
        """Returns figures of all examples and of each language, pictures, and the worst mistakes."""
        languages = sorted({example.language for example in self.examples})
        groups, notes = [self._group(ALL, np.arange(len(self.examples)))], []
        for language in languages if len(languages) > 1 else []:
            rows = np.array([i for i, example in enumerate(self.examples) if example.language == language])
            try:
                groups.append(self._group(language, rows))
            except UserError as error:
                notes.append(f"{language} has no figures: {error}")
        return EvaluationReport(
            title,
            self.task.kind,
            facts,
            tuple(groups),
            self._curves(),
            self._matrices(),
            self._mistakes(),
            tuple(notes),
        )

    def predictions(self) -> Predictions:
        """Returns the answers beside what is right, a row an example."""
        units = [f"{number}:{example.key}" for number, example in enumerate(self.examples)]
        columns = {"unit": units, "group": [example.language for example in self.examples]} | self._columns()
        return make_predictions(self.task.kind, fingerprint(self.examples), columns)

    def _group(self, name: str, rows: np.ndarray) -> Group:
        measured = measurer(self.task, self.examples, self.answers, self.threshold)
        return Group(name, bootstrap(lambda drawn: measured(rows[drawn]), len(rows), self.samples, self.seed))

    def _columns(self) -> dict[str, Any]:
        task, answers = self.task, self.answers
        labels = [example.label for example in self.examples]
        if isinstance(task, (TwoTowerTask, JointTask)):
            scores = expit(answers.scores) if task.kind == "clicks" else answers.scores
            least = 0.0 if self.threshold is None else self.threshold
            positive = fits(task, self.examples).astype(np.int8)
            return {"label": positive, "score": scores, "predicted": answers.scores >= least}
        if task.kind == "regression":
            return {"label": [float(label or 0.0) for label in labels], "score": answers.scores}
        if task.kind == "classification":
            return {"label": list(map(str, labels)), "predicted": answers.classes, "score": answers.scores}
        if task.kind == "text":
            return {"target": list(map(str, labels)), "predicted": answers.texts}
        tags = [list(example.tags) for example in self.examples]
        predicted = list(map(list, answers.tags))
        intents = {"intent": list(map(str, labels)), "predicted_intent": answers.classes}
        return intents | {"tags": tags, "predicted_tags": predicted}

    def _curves(self) -> tuple[Curve, ...]:
        if not isinstance(self.task, (TwoTowerTask, JointTask)):
            return ()
        positive, scores = fits(self.task, self.examples), self.answers.scores
        recall, precision = precision_recall_points(positive, scores)
        predicted, observed, _ = reliability_points(positive, expit(scores))
        return (
            Curve("Precision and recall", "recall", "precision", (_line("", recall, precision),), False),
            Curve("Reliability", "predicted share", "observed share", (_line("", predicted, observed),), True),
        )

    def _matrices(self) -> tuple[Matrix, ...]:
        if self.task.kind not in ("classification", "understanding"):
            return ()
        wanted = [str(example.label) for example in self.examples]
        labels, counts = confusion_matrix(wanted, self.answers.classes)
        title = "Intents" if self.task.kind == "understanding" else "Classes"
        return (Matrix(title, labels, tuple(tuple(map(int, row)) for row in counts)),)

    def _mistakes(self) -> tuple[Mistake, ...]:
        return tuple(
            Mistake(heading, {"text": " | ".join(self.examples[row].texts)[:_CHARACTERS], **fields})
            for row, heading, fields in self._worst()
        )

    def _worst(self) -> Iterator[tuple[int, str, dict[str, str]]]:
        """Yields row, heading and fields of the examples that are furthest from right."""
        task, answers = self.task, self.answers
        if isinstance(task, (TwoTowerTask, JointTask)):
            positive = fits(task, self.examples)
            margin = answers.scores - (self.threshold or 0.0)
            mistaken = (margin >= 0) != positive
            for row in _largest(np.where(mistaken, np.abs(margin), -1.0)):
                if mistaken[row]:
                    what = (
                        "does not fit, and was taken for one that does",
                        "fits, and was taken for one that does not",
                    )
                    yield row, f"A pair that {what[int(positive[row])]}", {"score": f"{answers.scores[row]:.3f}"}
        elif task.kind == "regression":
            labels = np.array([float(example.label or 0.0) for example in self.examples])
            for row in _largest(np.abs(labels - answers.scores)):
                yield row, f"{labels[row]:g}, taken for {answers.scores[row]:.3g}", {}
        elif task.kind == "text":
            wrong = [str(example.label) != text for example, text in zip(self.examples, answers.texts, strict=True)]
            for row in np.flatnonzero(wrong)[:SHOWN]:
                yield row, "Written", {"written": answers.texts[row], "right": str(self.examples[row].label)}
        else:
            wrong = [str(example.label) != own for example, own in zip(self.examples, answers.classes, strict=True)]
            for row in _largest(np.where(wrong, answers.scores, -1.0)):
                if wrong[row]:
                    heading = f"{self.examples[row].label}, taken for {answers.classes[row]}"
                    yield row, heading, {"likelihood": f"{answers.scores[row]:.2f}"}


def fingerprint(examples: Sequence[Example]) -> str:
    """Returns what tells held-out examples from others."""
    content = hashlib.blake2b(digest_size=8)
    for example in examples:
        content.update(f"{example.key} {example.label} {' '.join(example.tags)}\n".encode())
    return content.hexdigest()


def _line(name: str, x: np.ndarray, y: np.ndarray) -> Line:
    return Line(name, tuple(map(float, x)), tuple(map(float, y)))


def _largest(values: np.ndarray) -> np.ndarray:
    return np.argsort(-values, kind="stable")[:SHOWN]
