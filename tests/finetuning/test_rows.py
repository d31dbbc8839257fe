"""Encoded examples: how texts share the room there is, and what batches of them hold."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m5jax.data.vocabulary import EOS_ID, UNK_ID, Vocabulary
from m5jax.errors import UserError
from m5jax.finetuning.examples import Example
from m5jax.finetuning.ngrams import count_ngrams
from m5jax.finetuning.rows import (
    NO_TAG,
    UNKNOWN_TAG,
    Padded,
    PairRows,
    SequenceRows,
    TextRows,
    bucket,
    encode_examples,
    encode_texts,
    even_share,
    join_texts,
    pair_sides,
)
from m5jax.finetuning.tasks import (
    ClassificationTask,
    JointTask,
    Labels,
    PairLabels,
    RegressionTask,
    TextToTextTask,
    TwoTowerTask,
    UtteranceTask,
)
from m5jax.objectives.pair_losses import NO_GROUP
from tests.finetuning.conftest import WORDS


def example(*texts: str, label: str | float | None = 1.0, tags: tuple[str, ...] = (), group: str = "") -> Example:
    return Example("train:7", texts, label, tags, group=group)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 12), max_size=5), st.integers(0, 30))
def test_the_share_is_the_largest_with_which_all_fit(lengths: list[int], room: int) -> None:
    share = even_share(lengths, room)
    assert share >= 0
    fitting = [size for size in range(13) if sum(min(length, size) for length in lengths) <= room]
    # Beyond the longest text a share means nothing more.
    assert share == min(max(fitting), max(lengths, default=0))


TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join), min_size=1, max_size=4)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, st.integers(2, 24))
def test_joined_texts_fit_and_each_keeps_its_beginning(vocabulary: Vocabulary, texts: list[str], length: int) -> None:
    if length < 2 * len(texts):
        with pytest.raises(UserError, match=f"{len(texts)} texts do not fit into {length} tokens"):
            join_texts([tuple(texts)], vocabulary, length)
        return
    (joined,) = join_texts([tuple(texts)], vocabulary, length)
    alone = vocabulary.encode(texts)
    assert len(joined) <= length
    parts = split(joined)
    assert len(parts) == len(texts)
    for part, whole in zip(parts, alone, strict=True):
        assert part == whole[: len(part)]
    cut = [len(part) for part, whole in zip(parts, alone, strict=True) if len(part) < len(whole)]
    # Of those that are cut all have as much, no other has more, and not all could have one more.
    assert len(set(cut)) <= 1
    if cut:
        assert max(map(len, parts)) == cut[0]
        assert len(joined) + len(cut) > length


def split(tokens: Sequence[int]) -> list[list[int]]:
    """Returns the tokens before each end token."""
    parts: list[list[int]] = [[]]
    for token in tokens:
        if token == EOS_ID:
            parts.append([])
        else:
            parts[-1].append(int(token))
    assert parts.pop() == []
    return parts


def test_several_rows_of_texts_are_joined_each_by_itself(vocabulary: Vocabulary) -> None:
    several = [("red", "blue lamp"), ("chair",), ("a", "b", "c")]
    together = join_texts(several, vocabulary, 30)
    assert together == [join_texts([texts], vocabulary, 30)[0] for texts in several]


def test_texts_alone_are_cut_before_their_end_token(vocabulary: Vocabulary) -> None:
    (long,) = vocabulary.encode(["red lamp blue chair steel kettle"])
    assert encode_texts(["red lamp blue chair steel kettle", ""], vocabulary, 4) == [[*long[:3], EOS_ID], [EOS_ID]]
    ngrams = count_ngrams(["red lamp"], 10, 10)
    assert encode_texts(["red lamp", "?"], ngrams, 3) == [ngrams.encode(["red lamp"])[0][:3], []]


@given(st.integers(0, 5000))
def test_lengths_are_powers_of_two_from_sixteen(length: int) -> None:
    size = bucket(length)
    assert size >= max(16, length)
    assert size & (size - 1) == 0
    assert size == 16 or size // 2 < length


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(1, 99), max_size=40), min_size=1, max_size=5), st.data())
def test_texts_are_padded_to_the_longest_of_those_that_are_asked_for(
    sequences: list[list[int]], data: st.DataObject
) -> None:
    padded = Padded.of(sequences)
    assert padded.lengths.tolist() == [len(sequence) for sequence in sequences]
    indices = np.array(data.draw(st.lists(st.integers(0, len(sequences) - 1), min_size=1, max_size=6)))
    rows = padded.rows(indices, -1)
    assert rows.dtype == np.int32
    assert rows.shape == (len(indices), bucket(max(len(sequences[index]) for index in indices)))
    for row, index in zip(rows, indices, strict=True):
        own = sequences[index]
        assert row.tolist() == own + [-1] * (rows.shape[1] - len(own))


def test_joint_rows_have_shares_of_a_yes(vocabulary: Vocabulary) -> None:
    task = JointTask(PairLabels(1.0, 5.0))
    examples = [example("red", "lamp", label=2.0), example("blue", "chair", "lamp", label=5.0)]
    rows = encode_examples(examples, task, Labels(), vocabulary, 20)
    batch = rows.batch(np.array([1, 0]), np.array([0.5, 2.0], np.float32))
    assert {name: array.dtype.name for name, array in batch.items()} == {
        "inputs": "int32",
        "segment_ids": "int32",
        "labels": "float32",
        "weights": "float32",
    }
    np.testing.assert_array_equal(batch["labels"], [1.0, 0.25])
    np.testing.assert_array_equal(batch["weights"], [0.5, 2.0])
    np.testing.assert_array_equal(batch["segment_ids"], batch["inputs"] > 0)
    assert batch["inputs"].shape == (2, 16)
    tokens = [row[row > 0] for row in batch["inputs"]]
    assert split(tokens[0]) == vocabulary.encode(["blue", "chair", "lamp"])
    assert split(tokens[1]) == vocabulary.encode(["red", "lamp"])


def test_regression_rows_have_numbers_and_classification_rows_classes(vocabulary: Vocabulary) -> None:
    rows = encode_examples([example("red", label=-2.5)], RegressionTask(), Labels(), vocabulary, 8)
    assert isinstance(rows, SequenceRows)
    np.testing.assert_array_equal(rows.labels, np.array([-2.5], np.float32))
    labels = Labels(("a", "b", "c"))
    examples = [example("red", label="c"), example("blue", label="a")]
    rows = encode_examples(examples, ClassificationTask(), labels, vocabulary, 8)
    assert isinstance(rows, SequenceRows)
    assert (rows.labels.tolist(), rows.labels.dtype.name) == ([2, 0], "int32")


def test_a_class_that_training_does_not_know_is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(UserError, match="train:7: label 'z' is none of the 2 of the training rows; declare all in"):
        encode_examples([example("red", label="z")], ClassificationTask(), Labels(("a", "b")), vocabulary, 8)


UTTERANCE = ("red", "xyzzy", "lamp", "\u2581", "steel")
TAGS = ("B-color", "B-magic", "O", "I-gap", "O")
LABELS = Labels(("play", "stop"), ("B-color", "I-gap", "O"))


def utterance_rows(vocabulary: Vocabulary, length: int, label: str = "stop") -> SequenceRows:
    rows = encode_examples([example(*UTTERANCE, label=label, tags=TAGS)], UtteranceTask(), LABELS, vocabulary, length)
    assert isinstance(rows, SequenceRows)
    return rows


def test_tags_stand_at_the_first_piece_of_each_word(vocabulary: Vocabulary) -> None:
    """Of a word that has no piece, such as SentencePiece's own mark of a space, at an unknown one."""
    pieces = [own or [UNK_ID] for own in vocabulary.encode(list(UTTERANCE))]
    assert len(pieces[1]) > 2
    batch = utterance_rows(vocabulary, 64).batch(np.array([0]), np.ones(1, np.float32))
    tokens, tags = [], []
    for own, tag in zip(pieces, (0, UNKNOWN_TAG, 2, 1, 2), strict=True):
        tokens += own
        tags += [tag, *[NO_TAG] * (len(own) - 1)]
    padding = batch["inputs"].shape[1] - len(tokens) - 1
    assert batch["inputs"][0].tolist() == [*tokens, EOS_ID, *[0] * padding]
    assert batch["tags"][0].tolist() == [*tags, NO_TAG, *[NO_TAG] * padding]
    assert batch["labels"].tolist() == [1]


@pytest.mark.parametrize("length", range(1, 12))
def test_tags_are_cut_with_their_tokens(length: int, vocabulary: Vocabulary) -> None:
    whole, cut = (utterance_rows(vocabulary, size) for size in (64, length))
    assert cut.tags is not None
    assert whole.tags is not None
    kept = min(length - 1, len(whole.sequences.tokens) - 1)
    assert cut.sequences.tokens.tolist() == [*whole.sequences.tokens[:kept], EOS_ID]
    assert cut.tags.tokens.tolist() == [*whole.tags.tokens[:kept], NO_TAG]


def test_an_intent_that_training_does_not_know_stands_as_the_first(vocabulary: Vocabulary) -> None:
    assert utterance_rows(vocabulary, 64, "sing").labels.tolist() == [0]


PAIRS = [
    example("red lamp", "lamp", label=3.0),
    example("blue chair", "chair", label=1.0),
    example("red lamp", "chair", label=2.0),
    example("lamp", "red lamp", label=3.0),
]


def pair_rows(examples: Sequence[Example], vocabulary: Vocabulary) -> PairRows:
    rows = encode_examples(examples, TwoTowerTask(PairLabels(1.0, 3.0, 2.0)), Labels(), vocabulary, 8)
    assert isinstance(rows, PairRows)
    return rows


def test_each_side_of_pairs_is_held_once(vocabulary: Vocabulary) -> None:
    rows = pair_rows(PAIRS, vocabulary)
    lefts, rights = pair_sides(PAIRS)
    assert (lefts, rights) == (["red lamp", "blue chair", "lamp"], ["lamp", "chair", "red lamp"])
    for own, texts in ((rows.left, lefts), (rows.right, rights)):
        tokens = [own.tokens[start:end].tolist() for start, end in zip(own.starts, own.starts[1:], strict=False)]
        assert tokens == encode_texts(texts, vocabulary, 8)
    assert rows.pairs.tolist() == [[0, 0], [1, 1], [0, 1], [2, 2]]
    np.testing.assert_array_equal(rows.labels, [1.0, 0.0, 0.5, 1.0])
    np.testing.assert_array_equal(rows.fits, [1, 0, 1, 1])
    lengths = [max(len(text) for text in encode_texts(each.texts, vocabulary, 8)) for each in PAIRS]
    assert rows.lengths.tolist() == lengths


def test_of_one_group_is_the_same_text_on_either_side(vocabulary: Vocabulary) -> None:
    rows = pair_rows(PAIRS, vocabulary)
    left = rows.left_groups[rows.pairs[:, 0]]
    right = rows.right_groups[rows.pairs[:, 1]]
    texts = [text for each in PAIRS for text in each.texts]
    groups = [group for pair in zip(left, right, strict=True) for group in pair]
    for one, text in zip(groups, texts, strict=True):
        for other, other_text in zip(groups, texts, strict=True):
            assert (one == other) == (text == other_text)


def test_sides_of_pairs_that_fit_are_of_the_group_that_their_rows_name(vocabulary: Vocabulary) -> None:
    examples = [
        example("a", "b", label=3.0, group="p"),
        example("c", "d", label=3.0, group="p"),
        example("e", "f", label=3.0, group="q"),
        example("g", "h", label=1.0, group="p"),  # does not fit
        example("i", "j", label=3.0),
    ]
    rows = pair_rows(examples, vocabulary)
    groups = np.stack([rows.left_groups, rows.right_groups], axis=1)  # all texts differ
    assert len(set(groups[:2].flat)) == 1
    assert len(set(groups[2])) == 1
    assert len(set(groups.flat)) == 2 + 4
    assert groups[0, 0] not in groups[2:]


def test_a_text_is_of_the_group_that_a_row_names_on_both_sides(vocabulary: Vocabulary) -> None:
    rows = pair_rows([example("a", "b", label=3.0, group="p"), example("c", "a", label=1.0)], vocabulary)
    left, right = rows.left_groups[rows.pairs[:, 0]], rows.right_groups[rows.pairs[:, 1]]
    assert left[0] == right[0] == right[1]
    assert left[1] != left[0]


def test_what_fits_a_left_side_in_any_training_pair_is_known_in_each_batch(vocabulary: Vocabulary) -> None:
    fitting = [("query", "one"), ("query", "two"), ("other", "two"), ("third", "one")]
    examples = [example(*texts, label=3.0) for texts in fitting] + [example("query", "three", label=1.0)]
    rows = pair_rows(examples, vocabulary)
    groups = {text: rows.right_groups[place] for place, text in enumerate(pair_sides(examples)[1])}
    batch = rows.batch(np.array([0, 2]), np.ones(2, np.float32))  # a row of "query", and one with the other it fits
    got = [sorted(group for group in own if group != NO_GROUP) for own in batch["fitting_groups"].tolist()]
    assert got == [sorted([groups["one"], groups["two"]]), [groups["two"]]]
    alone = rows.batch(np.array([4]), np.ones(1, np.float32))["fitting_groups"]
    assert np.all(alone == NO_GROUP)  # what fits it is not in the batch


def test_a_batch_of_pairs_has_mined_negatives_behind_the_own_side(vocabulary: Vocabulary) -> None:
    rows = pair_rows(PAIRS, vocabulary)
    negatives = np.array([[1, 2], [0, 2], [2, 0], [1, 0]])
    with_negatives = dataclasses.replace(rows, negatives=negatives)
    weights = np.array([1, 2, 0], np.float32)
    for own, right in ((rows, [[2], [0], [1]]), (with_negatives, [[2, 1, 0], [0, 1, 2], [1, 2, 0]])):
        batch = own.batch(np.array([3, 0, 2]), weights)
        assert batch["inputs"].tolist() == rows.left.rows(np.array([2, 0, 0])).tolist()
        assert batch["right_inputs"].shape == (3, len(right[0]), 16)
        for got, places in zip(batch["right_inputs"], right, strict=True):
            assert got.tolist() == rows.right.rows(np.array(places)).tolist()
        np.testing.assert_array_equal(batch["right_groups"], rows.right_groups[np.array(right)])
        np.testing.assert_array_equal(batch["left_groups"], rows.left_groups[[2, 0, 0]])
        np.testing.assert_array_equal(batch["segment_ids"], batch["inputs"] > 0)
        np.testing.assert_array_equal(batch["right_segment_ids"], batch["right_inputs"] > 0)
        np.testing.assert_array_equal(batch["labels"], [1.0, 1.0, 0.5])
        np.testing.assert_array_equal(batch["fits"], [1, 1, 1])
        np.testing.assert_array_equal(batch["weights"], weights)
        assert all(array.dtype in (np.int32, np.float32) for array in batch.values())


def test_texts_to_be_written_are_targets_with_weights(vocabulary: Vocabulary) -> None:
    examples = [example("red lamp", label="lamp"), example("blue chair " * 9, label="chair steel kettle kitchen")]
    rows = encode_examples(examples, TextToTextTask(targets_length=3), Labels(), vocabulary, 12)
    assert isinstance(rows, TextRows)
    batch = rows.batch(np.array([1, 0]), np.array([2.0, 0.5], np.float32))
    inputs = encode_texts([each.texts[0] for each in examples], vocabulary, 12)
    targets = encode_texts([str(each.label) for each in examples], vocabulary, 3)
    for name, expected in (("inputs", inputs), ("targets", targets)):
        assert batch[name].tolist() == [own + [0] * (16 - len(own)) for own in expected[::-1]]
    np.testing.assert_array_equal(batch["segment_ids"], batch["inputs"] > 0)
    np.testing.assert_array_equal(batch["target_segment_ids"], batch["targets"] > 0)
    np.testing.assert_array_equal(batch["loss_weights"], (batch["targets"] > 0) * np.array([[2.0], [0.5]], np.float32))
    for name in ("positions", "target_positions"):
        np.testing.assert_array_equal(batch[name], [np.arange(16)] * 2)
    assert rows.lengths.tolist() == [len(own) + len(target) for own, target in zip(inputs, targets, strict=True)]
