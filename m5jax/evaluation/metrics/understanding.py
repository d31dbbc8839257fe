"""How well requests are understood: the intent of each utterance, and its slots.

Slots are the spans of tags in BIO form ("O", "B-color", "I-color"; an I that continues nothing of its name begins one,
as in conlleval). A slot is its name and its value; the value of a span is where its words stand, so that the same word
elsewhere is another value. Reference and predictions tag the same words.
"""

import dataclasses
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from m5jax.data.labelled_examples import OUTSIDE, spans_of
from m5jax.errors import UserError
from m5jax.evaluation.metrics.checks import check_lengths, classes

Slot = tuple[str, Hashable]


class SlotErrors(NamedTuple):
    """What it takes to make the reference's slots of the predicted ones."""

    deletions: int
    insertions: int
    substitutions: int


@dataclasses.dataclass(frozen=True, eq=False)
class UtteranceCounts:
    """What metrics are computed from, int64 [utterances] each.

    Args:
        intent_errors: 1 where the intent is wrong.
        slot_errors: deletions, insertions and substitutions.
        slots: of the reference.
        predicted_slots: of the predictions.
        right_slots: of both.
    """

    intent_errors: np.ndarray
    slot_errors: np.ndarray
    slots: np.ndarray
    predicted_slots: np.ndarray
    right_slots: np.ndarray

    def take(self, rows: np.ndarray) -> "UtteranceCounts":
        """Returns the counts of some utterances, int [rows]; one may be there more than once."""
        return UtteranceCounts(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


def count_utterances(
    intents: Sequence[str],
    predicted_intents: Sequence[str],
    tags: Sequence[Sequence[str]],
    predicted_tags: Sequence[Sequence[str]],
) -> UtteranceCounts:
    """Returns the counts of each utterance.

    Args:
        intents, predicted_intents: [utterances].
        tags, predicted_tags: of each word, [utterances][words].

    Raises:
        UserError: there is no utterance, numbers of utterances or of an utterance's words differ, or a tag is neither
            O nor B-SLOT nor I-SLOT.
    """
    right, predicted = classes("intents", intents), classes("predicted intents", predicted_intents)
    check_lengths(intents=right, predicted_intents=predicted, tags=tags, predicted_tags=predicted_tags)
    counts = np.zeros((4, len(right)), np.int64)
    for row, (wanted, found) in enumerate(zip(tags, predicted_tags, strict=True)):
        if len(wanted) != len(found):
            raise UserError(f"utterance {row} has {len(wanted)} tags and {len(found)} predicted; allowed: one a word")
        slots, predicted_slots = _slots(wanted, row), _slots(found, row)
        errors = sum(align_slots(slots, predicted_slots))
        counts[:, row] = errors, len(slots), len(predicted_slots), len(set(slots) & set(predicted_slots))
    return UtteranceCounts((right != predicted).astype(np.int64), *counts)


def align_slots(reference: Iterable[Slot], predicted: Iterable[Slot]) -> SlotErrors:
    """Returns the errors of an utterance's slots, each a name and a value; order does not matter.

    Equal slots are taken off in pairs, one for one where a slot is there several times. Of what is left, a slot of the
    same name is a substitution; then a slot of the reference is a deletion, and one of the predictions an insertion: a
    wrong name counts as both.
    """
    wanted, found = Counter(reference), Counter(predicted)
    missed, added = (_by_name(counter) for counter in (wanted - found, found - wanted))
    substitutions = (missed & added).total()
    return SlotErrors(missed.total() - substitutions, added.total() - substitutions, substitutions)


def understanding_metrics(counts: UtteranceCounts) -> dict[str, float]:
    """Returns the metrics of all utterances together, 0 to 1 but for semer, which insertions can raise above.

    intent_accuracy: the share of right intents.
    slot_f1: of whole slots, their names and places, over all utterances (micro), as seqeval's default; left out where
    neither the reference nor the predictions have any.
    semer: semantic error rate, the slot error rate (Makarov et al. 1999, "Performance measures for information
    extraction") with the intent as one more slot, which can only be substituted: errors in intents and slots over
    utterances and slots of the reference (Anand et al. 2023, arXiv:2311.16298, section 3.2).
    irer: interpretation error rate, the share of utterances with any error (same section).

    Raises:
        UserError: there is no utterance.
    """
    utterances = len(counts.intent_errors)
    if not utterances:
        raise UserError("there is no utterance to measure; needed: at least one")
    errors = counts.intent_errors + counts.slot_errors
    values = {"intent_accuracy": 1 - counts.intent_errors.mean()}
    if slots := counts.slots.sum() + counts.predicted_slots.sum():
        values["slot_f1"] = 2 * counts.right_slots.sum() / slots
    values["semer"] = errors.sum() / (utterances + counts.slots.sum())
    values["irer"] = (errors > 0).mean()
    return {name: float(value) for name, value in values.items()}


def _slots(tags: Sequence[str], row: int) -> list[tuple[str, tuple[str, ...]]]:
    for tag in tags:
        if tag != OUTSIDE and not (tag.startswith(("B-", "I-")) and len(tag) > len("B-")):
            raise UserError(f"tag {tag!r} of utterance {row} is unknown; allowed: {OUTSIDE}, B-SLOT and I-SLOT")
    return [(name, tuple(places)) for name, places in spans_of((str(place), tag) for place, tag in enumerate(tags))]


def _by_name(slots: Counter[Slot]) -> Counter[str]:
    names: Counter[str] = Counter()
    for (name, _), count in slots.items():
        names[name] += count
    return names
