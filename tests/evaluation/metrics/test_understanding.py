"""Intents and slots, against seqeval, an optimal assignment, and by hand."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from seqeval.metrics import f1_score

from m5jax.errors import UserError
from m5jax.evaluation.estimates import bootstrap
from m5jax.evaluation.metrics.understanding import (
    Slot,
    SlotErrors,
    align_slots,
    count_utterances,
    understanding_metrics,
)

tags = st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b", "B-a-c", "I-a-c", "B-_"])
Pairs = list[list[tuple[str, str]]]
# A pair is a word's tag and the one predicted.
utterances = st.lists(st.lists(st.tuples(tags, tags), max_size=8), min_size=1, max_size=5)
slots = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), max_size=6)


def exactly(value: float) -> object:
    return pytest.approx(value, rel=0, abs=1e-12)


@given(utterances)
def test_slot_f1_equals_that_of_seqeval(pairs: Pairs) -> None:
    wanted = [[tag for tag, _ in words] for words in pairs]
    found = [[tag for _, tag in words] for words in pairs]
    intents = ["find"] * len(pairs)
    values = understanding_metrics(count_utterances(intents, intents, wanted, found))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy and scikit-learn, where there is no slot
        expected = f1_score(wanted, found)
    if all(tag == "O" for words in pairs for pair in words for tag in pair):
        assert "slot_f1" not in values
    else:
        assert values["slot_f1"] == exactly(expected)


def fewest_errors(reference: list[Slot], predicted: list[Slot]) -> int:
    """Of all one-to-one alignments: equal slots cost nothing, those of a name 1, a slot without another 1."""
    size = len(reference) + len(predicted)
    costs = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            left = reference[row] if row < len(reference) else None
            right = predicted[column] if column < len(predicted) else None
            if left is None or right is None:
                costs[row, column] = 0 if left is right else 1
            else:
                costs[row, column] = 0 if left == right else 1 if left[0] == right[0] else 2
    return int(costs[linear_sum_assignment(costs)].sum())


@given(slots, slots)
def test_no_alignment_of_slots_has_fewer_errors(reference: list[Slot], predicted: list[Slot]) -> None:
    errors = align_slots(reference, predicted)
    assert min(errors) >= 0
    assert sum(errors) == fewest_errors(reference, predicted)
    assert len(reference) - errors.deletions + errors.insertions == len(predicted)


@pytest.mark.parametrize(
    ("reference", "predicted", "expected"),
    [
        ([("color", "red")], [("color", "red")], SlotErrors(0, 0, 0)),
        ([("color", "red")], [("color", "blue")], SlotErrors(0, 0, 1)),
        ([("color", "red")], [("brand", "red")], SlotErrors(1, 1, 0)),
        ([("color", "red")] * 2, [("color", "red")], SlotErrors(1, 0, 0)),
        ([("color", "red")], [("color", "red")] * 3, SlotErrors(0, 2, 0)),
        ([("color", "red"), ("color", "blue")], [("color", "blue"), ("color", "red")], SlotErrors(0, 0, 0)),
        ([("color", "red"), ("size", "m")], [("color", "blue"), ("color", "green")], SlotErrors(1, 1, 1)),
        ([], [], SlotErrors(0, 0, 0)),
    ],
)
def test_errors_of_slots(reference: list[Slot], predicted: list[Slot], expected: SlotErrors) -> None:
    assert align_slots(reference, predicted) == expected


INTENTS = ["buy", "find", "buy", "track"]
PREDICTED_INTENTS = ["buy", "buy", "buy", "track"]
TAGS = [["O", "B-color", "O"], ["B-brand", "I-brand"], ["B-size", "O", "B-color"], ["O"]]
PREDICTED_TAGS = [["O", "O", "B-color"], ["B-brand", "I-brand"], ["B-size", "B-size", "O"], ["O"]]


def test_metrics_by_hand() -> None:
    counts = count_utterances(INTENTS, PREDICTED_INTENTS, TAGS, PREDICTED_TAGS)
    assert counts.slot_errors.tolist() == [1, 0, 2, 0]
    # 4 slots wanted, 4 predicted, 2 right; 3 errors in slots and 1 in intents over 4 slots and 4 utterances.
    assert understanding_metrics(counts) == {
        "intent_accuracy": exactly(3 / 4),
        "slot_f1": exactly(2 / 4),
        "semer": exactly(4 / 8),
        "irer": exactly(3 / 4),
    }


def test_errors_beyond_the_slots_of_the_reference_raise_semer_above_one() -> None:
    counts = count_utterances(["buy"], ["find"], [["O", "O"]], [["B-a", "B-b"]])
    assert understanding_metrics(counts) == {"intent_accuracy": 0, "slot_f1": 0, "semer": 3, "irer": 1}


def test_utterances_are_resampled_whole() -> None:
    counts = count_utterances(INTENTS, PREDICTED_INTENTS, TAGS, PREDICTED_TAGS)
    rows = [2, 0, 2]
    again = count_utterances(
        *([column[row] for row in rows] for column in (INTENTS, PREDICTED_INTENTS)),
        *[[column[row] for row in rows] for column in (TAGS, PREDICTED_TAGS)],
    )
    assert understanding_metrics(counts.take(np.array(rows))) == understanding_metrics(again)
    estimates = bootstrap(lambda drawn: understanding_metrics(counts.take(drawn)), 4, samples=50)
    assert estimates["semer"].value == 0.5


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(UserError, match="intents 2, predicted intents 1, tags 2, predicted tags 2"):
        count_utterances(["a", "b"], ["a"], [[], []], [[], []])
    with pytest.raises(UserError, match="utterance 1 has 1 tags and 2 predicted; allowed: one a word"):
        count_utterances(["a", "b"], ["a", "a"], [[], ["O"]], [[], ["O", "O"]])
    for tag in ("E-a", "B-", "b-a", ""):
        with pytest.raises(UserError, match=f"tag '{tag}' of utterance 0 is unknown; allowed: O, B-SLOT and I-SLOT"):
            count_utterances(["a"], ["a"], [["O"]], [[tag]])
    with pytest.raises(UserError, match=r"intents are of shape \[0\]"):
        count_utterances([], [], [], [])
    counts = count_utterances(INTENTS, PREDICTED_INTENTS, TAGS, PREDICTED_TAGS)
    with pytest.raises(UserError, match="there is no utterance to measure"):
        understanding_metrics(counts.take(np.array([], int)))
