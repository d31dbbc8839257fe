"""What rows of each task hold, the labels that are found in them, and the models they have."""

from collections.abc import Mapping
from typing import Any

import pytest

from m5jax.data.attributes import SEPARATORS
from m5jax.data.field_reader import BadRecord
from m5jax.data.vocabulary import EOS_ID
from m5jax.errors import UserError
from m5jax.finetuning.examples import Columns, Example, RowReader
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
    find_labels,
)
from m5jax.models import ClassifierConfig, EncoderConfig, NgramEncoderConfig, TwoTowerConfig

ENCODER = EncoderConfig(vocab_size=40, width=16, layers=2, heads=2, mlp_hidden=24)


def example(task: Task, row: Mapping[str, Any]) -> Example:
    return task.example(RowReader(row, Columns(), SEPARATORS), "here")


def examples(labels: list[Any], tags: list[tuple[str, ...]] | None = None) -> list[Example]:
    each = tags or [()] * len(labels)
    return [Example("here", ("a",), label, own) for label, own in zip(labels, each, strict=True)]


def test_shares_of_a_yes_are_where_grades_lie_in_their_range() -> None:
    labels = PairLabels(1.0, 5.0)
    assert [labels.share(grade) for grade in (1, 2, 5)] == [0, 0.25, 1]
    assert (PairLabels().least_fit, labels.least_fit, PairLabels(1.0, 5.0, 4.0).least_fit) == (1.0, 5.0, 4.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 1.0), "PairLabels.lowest = 1.0 is not below highest = 1.0"),
        ((0.0, 2.0, 0.0), "PairLabels.fits_from = 0.0; allowed: above 0.0, at most 2.0"),
        ((0.0, 2.0, 2.5), "PairLabels.fits_from = 2.5"),
    ],
)
def test_grades_that_cannot_be_are_refused(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PairLabels(*arguments)


def test_a_pair_without_a_label_fits_where_each_side_has_a_tower() -> None:
    task = TwoTowerTask(PairLabels(1.0, 4.0))
    assert example(task, {"left": "a", "right": "b"}).label == 4.0
    assert example(task, {"left": "a", "right": "b", "label": ""}).label == 4.0
    assert example(task, {"left": "a", "right": "b", "label": 2}).label == 2.0
    with pytest.raises(BadRecord, match="label is missing or empty"):
        example(JointTask(), {"left": "a", "right": "b"})


def test_items_are_two_or_more_texts_or_products() -> None:
    row = {"items": ["a", {"title": "b", "color": "red"}, 3], "label": 1}
    assert example(JointTask(), row).texts == ("<title> a", "<title> b<attribute> color<value> red", "<title> 3")
    for items, reason in (([], "items has 0 item"), (["a"], "items has 1 item"), (["a", ""], r"items\[1\] is missing")):
        with pytest.raises(BadRecord, match=reason):
            example(JointTask(), {"items": items, "label": 1})


def test_a_label_that_is_not_declared_is_bad() -> None:
    task = ClassificationTask(("x", "y"))
    assert example(task, {"text": "a", "label": "x"}).label == "x"
    with pytest.raises(BadRecord, match="label 'z' is none of the 2 declared ones"):
        example(task, {"text": "a", "label": "z"})


def test_an_utterance_has_words_tags_and_an_intent() -> None:
    found = example(UtteranceTask(), {"tokens": ["play", " a<b "], "tags": ["O", "B-song"], "intent": "play"})
    assert (found.texts, found.tags, found.label) == (("play", "a< b"), ("O", "B-song"), "play")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tags": ["O"]}, "there are 2 tokens and 1 tags; one of each a word is needed"),
        ({"tokens": [], "tags": []}, "there are 0 tokens and 0 tags"),
        ({"tags": ["O", "song"]}, "tag 'song' is not O, B-SLOT or I-SLOT"),
        ({"tags": ["O", "B-"]}, "tag 'B-' is not O, B-SLOT or I-SLOT"),
        ({"tokens": "play it"}, "tokens is of type str, a list is needed"),
        ({"intent": None}, "intent is missing or empty"),
    ],
)
def test_a_bad_utterance_is_said(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRecord, match=reason):
        example(UtteranceTask(), {"tokens": ["play", "it"], "tags": ["O", "O"], "intent": "play"} | changes)


def test_a_text_to_be_written_is_the_label() -> None:
    found = example(TextToTextTask(), {"input": "a long text", "target": " short "})
    assert (found.texts, found.label) == (("a long text",), "short")
    # As what a vocabulary gives back, with which it is compared.
    found = example(TextToTextTask(), {"input": "a", "target": "10\u00a0cm  \u00bd\u2026"})
    assert found.label == "10 cm 1\u20442..."
    with pytest.raises(BadRecord, match="target is missing or empty"):
        example(TextToTextTask(), {"input": "a"})


@pytest.mark.parametrize("task", [JointTask(), ClassificationTask(), RegressionTask(), UtteranceTask()])
def test_weights_groups_and_languages_are_read_by_all(task: Task) -> None:
    row = {"left": "a", "right": "b", "text": "c", "label": 1, "tokens": ["a"], "tags": ["O"], "intent": "x"}
    found = example(task, row | {"weight": "2.5", "group": 7, "lang": "PT-br"})
    assert (found.location, found.weight, found.group, found.language) == ("here", 2.5, "7", "pt-br")


def test_labels_are_those_of_the_training_examples_in_order() -> None:
    assert find_labels(ClassificationTask(), examples(["b", "a", "b"])) == Labels(("a", "b"))
    tags = [("O", "B-x"), ("O",)]
    assert find_labels(UtteranceTask(), examples(["play", "stop"], tags)) == Labels(("play", "stop"), ("B-x", "O"))
    for task in (TwoTowerTask(), RegressionTask(), TextToTextTask()):
        assert find_labels(task, examples([1.0, 1.0])) == Labels()
    assert find_labels(JointTask(), examples([1.0, 0.0])) == Labels()


def test_declared_labels_are_known_though_no_example_has_them() -> None:
    assert find_labels(ClassificationTask(("z", "a", "b", "a")), examples(["b", "b"])) == Labels(("a", "b", "z"))


@pytest.mark.parametrize("task", [JointTask(), ClassificationTask(), UtteranceTask()])
def test_one_label_is_not_enough(task: Task) -> None:
    with pytest.raises(UserError, match="all 3 training examples have the label '?1.0'?; two are needed"):
        find_labels(task, examples([1.0, 1.0, 1.0]))


def test_models_have_what_a_task_says() -> None:
    task = TwoTowerTask(shared=False, projection=8, lexical=4, similarity="dot", temperature=0.5)
    expected = TwoTowerConfig(encoder=ENCODER, shared=False, projection=8, lexical=4, similarity="dot", temperature=0.5)
    assert task.model(ENCODER, Labels()) == expected
    labels = Labels(("a", "b", "c"), ("O", "B-x"))
    for own, classes, tags in (
        (JointTask(compare=False), 1, 0),
        (RegressionTask(), 1, 0),
        (ClassificationTask(), 3, 0),
        (UtteranceTask(), 3, 2),
    ):
        assert own.model(ENCODER, labels) == ClassifierConfig(encoder=ENCODER, classes=classes, tags=tags)
    assert JointTask().model(ENCODER, labels) == ClassifierConfig(encoder=ENCODER, item_end=EOS_ID)


def test_a_bag_of_ngrams_is_for_two_towers_only() -> None:
    bag = NgramEncoderConfig(vocab_size=9)
    assert TwoTowerTask().model(bag, Labels()).encoder is bag
    for task in (JointTask(), ClassificationTask(), RegressionTask(), UtteranceTask()):
        with pytest.raises(UserError, match=f"{type(task).__name__} needs an EncoderConfig"):
            task.model(bag, Labels())


def test_clicks_are_measured_as_such() -> None:
    assert (JointTask().kind, JointTask(clicks=True).kind, TwoTowerTask().kind) == ("pairs", "clicks", "pairs")
