"""The report of a masked language model, from answers that are known."""

import json
from pathlib import Path

import numpy as np
import pytest

from m5jax.data.vocabulary import Vocabulary
from m5jax.evaluation.cloze import Cloze, token_cloze
from m5jax.evaluation.cloze_answers import Answer, answer_clozes
from m5jax.evaluation.compare import compare
from m5jax.evaluation.masked_report import Answered, Bootstrap, masked_predictions, masked_report, masked_table
from m5jax.evaluation.masked_values import Values
from m5jax.evaluation.masked_words import WordHiding
from m5jax.evaluation.reports import write_evaluation
from tests.evaluation.small_vocabulary import small_vocabulary, tokens_of

BOOTSTRAP = Bootstrap(samples=200, seed=1)
COLORS = ("red", "red", "dark red")


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder: Path = tmp_path_factory.mktemp("vocabulary")
    return small_vocabulary(folder)


def text(number: int) -> str:
    color = COLORS[number % 3]
    named = color if number % 2 else "stainless"
    return (
        f"<title> kettle {number} {named} with removable filter<attribute> color<value> {color}"
        f"<attribute> size<value> {number} l"
    )


def answered(
    vocabulary: Vocabulary, label: str, right: float, frequent: dict[str, str] | None, seed: int = 0
) -> Answered:
    """Returns what a model says that is right of each token by chance."""
    generator = np.random.default_rng(seed)
    texts = [tokens_of(vocabulary, text(number)) for number in range(30)]
    words = [cloze for own in texts if (cloze := WordHiding(vocabulary, share=0.3)(own))]
    tokens = [cloze for own in words if (cloze := token_cloze(own.example, vocabulary))]
    clozes: list[Cloze] = [*tokens, *words, *(cloze for own in texts for cloze in Values(vocabulary).clozes(own))]
    outputs = []
    for cloze in clozes:
        targets = cloze.example.targets[cloze.example.targets > 0]
        hits = generator.random(len(targets)) < right
        outputs.append((np.where(hits, targets, targets - 1), np.where(hits, 0.5, 3.0).astype(np.float32)))
    answers = answer_clozes(clozes, lambda *_: outputs, {}, vocabulary)
    return Answered(label, clozes, answers, frequent, unigram_accuracy=0.125)


def mean(rows: list[Answer]) -> float:
    return sum(row.correct for row in rows) / len(rows)


def test_groups_are_languages_then_the_attributes_of_each(vocabulary: Vocabulary) -> None:
    both = [answered(vocabulary, label, 0.8, {"color": "red"}) for label in ("en", "de")]
    report = masked_report("title", {"run": "a"}, both, vocabulary, BOOTSTRAP, ("a note",))
    groups = {group.name: group.metrics for group in report.groups}
    assert list(groups) == ["en", "de", "en: color", "en: size", "de: color", "de: size"]
    language, color, size = groups["en"], groups["en: color"], groups["en: size"]
    tokens, words, values = (both[0].rows(hidden) for hidden in ("token", "word", "value"))
    assert {name: language[name].value for name in language} == pytest.approx(
        {
            "token_accuracy": mean(tokens),
            "nats_per_token": sum(row.loss for row in tokens) / len(tokens),
            "unigram_accuracy": 0.125,
            "word_accuracy": mean(words),
            "nats_per_character": sum(row.loss for row in words) / sum(len(row.target) for row in words),
            "value_accuracy": mean(values),
            "frequent_value_accuracy": 20 / 60,
            "value_in_text": 15 / 60,
        }
    )
    assert color["value_accuracy"].value == mean([row for row in values if row.blank.attribute == "color"])
    assert (color["frequent_value_accuracy"].value, size["frequent_value_accuracy"].value) == pytest.approx((2 / 3, 0))
    for name, estimate in language.items():
        if name != "unigram_accuracy":
            assert estimate.low is not None
            assert estimate.low <= estimate.value <= (estimate.high or 0)
    assert language["value_accuracy"].count == color["value_accuracy"].count == 30
    assert report.notes == ("a note",)
    table = masked_table(report, ["en", "de"]).splitlines()
    assert [line.split()[0] for line in table[2:]] == ["de", "en"]
    assert f"{language['word_accuracy'].value:.1%}" in table[3]


def test_without_training_values_there_is_no_baseline(vocabulary: Vocabulary) -> None:
    report = masked_report("title", {}, [answered(vocabulary, "en", 0.5, None)], vocabulary, BOOTSTRAP)
    assert not any("frequent_value_accuracy" in group.metrics for group in report.groups)
    assert "–" in masked_table(report, ["en"])


def test_long_words_are_harder_and_the_worst_values_are_shown(vocabulary: Vocabulary) -> None:
    own = answered(vocabulary, "en", 0.8, None)
    report = masked_report("title", {}, [own], vocabulary, BOOTSTRAP)
    ((line,),) = [curve.lines for curve in report.curves]
    for pieces, accuracy in zip(line.x, line.y, strict=True):
        rows = [row for row in own.rows("word") if min(len(row.blank.positions), 6) == pieces]
        assert accuracy == pytest.approx(mean(rows))
    wrong = [row for row in own.rows("value") if not row.correct]
    assert len(report.examples) == min(len(wrong), 10)
    for example in report.examples:
        assert example.heading in ("en: color", "en: size")
        assert "[?]" in example.fields["text"]
        assert example.fields["right"] in {row.target for row in wrong}
    only_words = Answered("en", *zip(*[pair for pair in zip(own.clozes, own.answers, strict=True) if
        pair[1][0].blank.hidden == "word"], strict=True), None)  # fmt: skip
    (first, *_) = masked_report("title", {}, [only_words], vocabulary, BOOTSTRAP).examples
    assert first.heading == "en"
    shown = first.fields["text"]
    assert shown.count("[?]") == 1
    assert "<title>" in shown


def test_predictions_can_be_compared(vocabulary: Vocabulary, tmp_path: Path) -> None:
    folders = []
    for number, right in enumerate((0.7, 0.95)):
        both = [answered(vocabulary, label, right, None, seed=number) for label in ("en", "de")]
        report = masked_report("title", {}, both, vocabulary, BOOTSTRAP)
        folders.append(write_evaluation(tmp_path / str(number), report, masked_predictions(both)))
    found = compare(*folders, samples=500)
    assert (found.only_first, found.only_second) == (0, 0)
    metrics = {(row.group, row.metric): row for row in found.metrics}
    for side in ("first", "second"):
        report = json.loads((folders[side == "second"] / "report.json").read_text(encoding="utf-8"))
        for group in report["groups"]:
            for name, estimate in group["metrics"].items():
                if name not in ("unigram_accuracy", "value_in_text"):
                    assert getattr(metrics[group["name"], name], side) == pytest.approx(estimate["value"])
    assert (metrics["en", "word_accuracy"].difference.low or 0) > 0
    assert metrics["en: color", "value_accuracy"].difference.count == 30
    assert metrics["(all)", "value_accuracy"].difference.count == 60
    assert found.notes == ()
