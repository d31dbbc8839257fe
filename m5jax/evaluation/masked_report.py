"""The report of a masked language model: tokens, words and values, a language and an attribute at a time."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from m5jax.data.examples import Example as Masked
from m5jax.data.vocabulary import Vocabulary
from m5jax.evaluation.cloze import Cloze
from m5jax.evaluation.cloze_answers import Answer
from m5jax.evaluation.estimates import Estimate, bootstrap_means
from m5jax.evaluation.metrics.masked import HIDDEN, Ratio, masked_ratios, pooled_attributes, ratio
from m5jax.evaluation.predictions import Predictions, make_predictions
from m5jax.evaluation.report_data import Curve, EvaluationReport, Example, Group, Line
from m5jax.evaluation.tables import MISSING, format_table

KIND = "masked"
# Of how words are chosen and hidden: units of equal names are equal data, whatever else was evaluated.
FINGERPRINT = "cloze-1"
HEADERS = ("language", "words", "nats/character", "values", "most frequent", "in the text")
_METRICS = ("word_accuracy", "nats_per_character", "value_accuracy", "frequent_value_accuracy", "value_in_text")
_SHOWN = 10  # of the worst mistakes
_CHARACTERS = 150  # on each side of what is hidden
_MOST_PIECES = 6
_GAP, _ASKED = "[...]", "[?]"


@dataclasses.dataclass(frozen=True)
class Answered:
    """What a model says of the held-out texts of one language, or task.

    Attributes:
        label: its name.
        clozes: the texts.
        answers: to the blanks of each, in order.
        frequent_values: of each attribute in the training data; None where that is not known.
        unigram_accuracy: what the most frequent token of the training data scores at hidden tokens.
    """

    label: str
    clozes: Sequence[Cloze]
    answers: Sequence[Sequence[Answer]]
    frequent_values: Mapping[str, str] | None
    unigram_accuracy: float | None = None

    def rows(self, hidden: str) -> list[Answer]:
        """Returns the answers of one kind."""
        return [answer for own in self.answers for answer in own if answer.blank.hidden == hidden]


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """How intervals are made, see `m5jax.evaluation.estimates.bootstrap`."""

    samples: int = 1000
    seed: int = 0

    def estimates(self, ratios: Mapping[str, Ratio]) -> dict[str, Estimate]:
        found: dict[str, Estimate] = {}
        for name, (values, weights) in ratios.items():
            found |= bootstrap_means({name: values}, weights, self.samples, self.seed)
        return found


def masked_report(
    title: str,
    facts: Mapping[str, str],
    answered: Sequence[Answered],
    vocabulary: Vocabulary,
    bootstrap: Bootstrap,
    notes: Sequence[str] = (),
) -> EvaluationReport:
    """Returns the figures of each language, then of the attributes of each: its most frequent ones, and the others."""
    groups = [
        *(_language(own, bootstrap) for own in answered),
        *(g for own in answered for g in _attributes(own, bootstrap)),
    ]
    mistakes = _mistakes(answered, vocabulary)
    return EvaluationReport(title, KIND, facts, tuple(groups), _curves(answered), (), mistakes, tuple(notes))


def masked_predictions(answered: Sequence[Answered]) -> Predictions:
    """Returns the answers beside what was hidden, a row a blank."""
    rows = [(own.label, answer) for own in answered for hidden in HIDDEN for answer in own.rows(hidden)]
    answers = [answer for _, answer in rows]
    columns = {
        "unit": [answer.unit for answer in answers],
        "group": [label for label, _ in rows],
        "hidden": [answer.blank.hidden for answer in answers],
        "place": [answer.blank.place for answer in answers],
        "attribute": [answer.blank.attribute for answer in answers],
        "target": [answer.target for answer in answers],
        "predicted": [answer.predicted for answer in answers],
        "correct": [answer.correct for answer in answers],
        "loss": [answer.loss for answer in answers],
    }
    return make_predictions(KIND, FINGERPRINT, columns)


def masked_table(report: EvaluationReport, labels: Sequence[str]) -> str:
    """Returns the figures of words and values for a terminal, a row a language."""
    groups = {group.name: group.metrics for group in report.groups}
    rows = [[label, *(_cell(name, groups[label].get(name)) for name in _METRICS)] for label in sorted(labels)]
    return format_table(HEADERS, rows, ("left", *["right"] * len(_METRICS)))


def _language(answered: Answered, bootstrap: Bootstrap) -> Group:
    metrics: dict[str, Estimate] = {}
    for hidden in HIDDEN:
        rows = answered.rows(hidden)
        if not rows:
            continue
        metrics |= bootstrap.estimates(_ratios(hidden, rows))
        if hidden == "token" and answered.unigram_accuracy is not None:
            units = metrics["token_accuracy"].count
            metrics["unigram_accuracy"] = Estimate(answered.unigram_accuracy, None, None, units)
        if hidden == "value":
            metrics |= bootstrap.estimates(_value_ratios(rows, answered.frequent_values))
    return Group(answered.label, metrics)


def _attributes(answered: Answered, bootstrap: Bootstrap) -> list[Group]:
    values = answered.rows("value")
    names = pooled_attributes([row.blank.attribute for row in values])
    groups = []
    for name in np.unique(names):
        rows = [row for row, own in zip(values, names, strict=True) if own == name]
        ratios = _ratios("value", rows) | _value_ratios(rows, answered.frequent_values)
        groups.append(Group(f"{answered.label}: {name}", bootstrap.estimates(ratios)))
    return groups


def _ratios(hidden: str, rows: Sequence[Answer]) -> dict[str, Ratio]:
    correct, losses = np.array([row.correct for row in rows]), np.array([row.loss for row in rows])
    return masked_ratios(hidden, _texts(rows), correct, losses, [row.target for row in rows])


def _value_ratios(rows: Sequence[Answer], frequent: Mapping[str, str] | None) -> dict[str, Ratio]:
    """Returns what knowing only the attribute's name scores, and how often the value can be read elsewhere."""
    found = {"value_in_text": np.array([row.blank.elsewhere for row in rows])}
    if frequent is not None:
        answers = [frequent.get(row.blank.attribute) == row.target for row in rows]
        found = {"frequent_value_accuracy": np.array(answers)} | found
    return {name: ratio(_texts(rows), right, np.ones(len(rows))) for name, right in found.items()}


def _texts(rows: Sequence[Answer]) -> np.ndarray:
    return np.unique([row.unit for row in rows], return_inverse=True)[1]


def _curves(answered: Sequence[Answered]) -> tuple[Curve, ...]:
    """Returns how hard words are by their number of pieces: more have to be right, each without the others."""
    lines = []
    for own in answered:
        rows = own.rows("word")
        pieces = np.array([min(len(row.blank.positions), _MOST_PIECES) for row in rows], np.int64)
        correct = np.array([row.correct for row in rows], bool)
        found = np.unique(pieces)
        shares = [float(correct[pieces == number].mean()) for number in found]
        lines.append(Line(own.label, tuple(map(float, found)), tuple(shares)))
    label = f"pieces ({_MOST_PIECES}: and more)"
    return (Curve("Accuracy of words by their number of pieces", label, "accuracy", tuple(lines), False),)


def _mistakes(answered: Sequence[Answered], vocabulary: Vocabulary) -> tuple[Example, ...]:
    """Returns the wrong values, or words where there are no values, whose tokens were least likely."""
    wrong = [
        (answer.loss / len(answer.blank.positions), own.label, cloze, answer)
        for own in answered
        for cloze, answers in zip(own.clozes, own.answers, strict=True)
        for answer in answers
        if not answer.correct and answer.blank.hidden != "token"
    ]
    hidden = "value" if any(item[3].blank.hidden == "value" for item in wrong) else "word"
    chosen = [item for item in wrong if item[3].blank.hidden == hidden]
    chosen.sort(key=lambda item: (-item[0], item[1], item[3].unit, item[3].blank.place))
    return tuple(_mistake(label, cloze, answer, vocabulary) for _, label, cloze, answer in chosen[:_SHOWN])


def _mistake(label: str, cloze: Cloze, answer: Answer, vocabulary: Vocabulary) -> Example:
    heading = f"{label}: {answer.blank.attribute}" if answer.blank.attribute else label
    text = _with_gaps(cloze.example, answer.blank.positions, vocabulary)
    start = max(text.index(_ASKED) - _CHARACTERS, 0)
    shown = text[start : start + 2 * _CHARACTERS]
    return Example(heading, {"text": shown, "right": answer.target, "predicted": answer.predicted})


def _with_gaps(example: Masked, asked: np.ndarray, vocabulary: Vocabulary) -> str:
    """Returns what was read, with signs for what was hidden."""
    state = (example.targets > 0).astype(np.int8)
    state[asked] = 2
    starts = np.flatnonzero(np.diff(state, prepend=-1))
    signs = {1: _GAP, 2: _ASKED}
    parts = zip(state[starts], np.split(example.inputs, starts[1:]), strict=True)
    return " ".join(signs.get(int(kind)) or vocabulary.decode(tokens.tolist()).strip() for kind, tokens in parts)


def _cell(name: str, estimate: Estimate | None) -> str:
    if estimate is None:
        return MISSING
    return f"{estimate.value:.3f}" if name.startswith("nats") else f"{estimate.value:.1%}"
