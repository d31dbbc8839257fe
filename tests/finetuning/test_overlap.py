"""Examples of the training data that are measured, too."""

import logging

import pytest

from m5jax.errors import UserError
from m5jax.finetuning.examples import Example
from m5jax.finetuning.overlap import without_overlap


def example(location: str, *texts: str, label: float = 1.0) -> Example:
    return Example(location, texts, label)


TRAINING = [
    example("train:1", "<title> red lamp", "<title> lamp"),
    example("train:2", "<title> chair", "<title> table"),
    example("train:3", "<title> lamp", "<title> red lamp"),
    example("train:4", "<title> Red  Lamp", "<title> LAMP"),
]
# The first one again, with another label and other case: examples 1 and 4, and not their sides the other way round.
HELD_OUT = [example("valid:9", "<title> RED lamp", "<title> lamp ", label=0.0), example("valid:8", "a", "b")]
MESSAGE = (
    "2 of 4 training examples are in the validation data too, such as train:1 '<title> red lamp | <title> lamp'; "
    "train:4 '<title> Red  Lamp | <title> LAMP'"
)


def test_an_overlap_is_refused_with_its_number_and_examples() -> None:
    with pytest.raises(UserError) as error:
        without_overlap(TRAINING, HELD_OUT, "refuse", "validation")
    assert str(error.value) == f"{MESSAGE}; allow it with --overlap=allow, or leave them out of the training with drop"


def test_an_overlap_that_is_allowed_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    assert without_overlap(TRAINING, HELD_OUT, "allow", "validation") == TRAINING
    assert caplog.messages == [f"{MESSAGE}: allowed"]


def test_an_overlap_may_be_dropped_from_the_training(caplog: pytest.LogCaptureFixture) -> None:
    assert without_overlap(TRAINING, HELD_OUT, "drop", "validation") == TRAINING[1:3]
    assert caplog.messages == [f"{MESSAGE}: left out of the training"]


def test_few_of_many_are_shown_and_long_texts_are_cut() -> None:
    many = [example(f"train:{number}", "x" * 100, "y") for number in range(5)]
    with pytest.raises(UserError) as error:
        without_overlap(many, many[:1], "refuse", "test")
    assert str(error.value).startswith("5 of 5 training examples are in the test data too")
    assert [f"train:{number}" in str(error.value) for number in range(5)] == [True] * 3 + [False] * 2
    assert "x" * 60 in str(error.value)
    assert "x" * 61 not in str(error.value)


@pytest.mark.parametrize("policy", ["refuse", "allow", "drop"])
def test_without_an_overlap_nothing_is_said(policy: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert without_overlap(TRAINING, HELD_OUT[1:], policy, "validation") == TRAINING
    assert caplog.messages == []


def test_where_all_would_be_dropped_nothing_is_left_to_train_on() -> None:
    with pytest.raises(UserError, match="4 of 4 training examples .*: none is left to train on"):
        without_overlap(TRAINING, TRAINING, "drop", "validation")


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(UserError, match="unknown overlap 'dorp'; did you mean drop"):
        without_overlap(TRAINING, [], "dorp", "validation")
