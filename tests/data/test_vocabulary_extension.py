"""Vocabularies extended for other texts: what stays, which pieces are added, and at what scores."""

import collections
import math
import random

import numpy as np
import pytest
from sentencepiece import sentencepiece_model_pb2

from m5jax.data import vocabulary_extension as module
from m5jax.data.vocabulary import FIRST_LEARNED_ID, Vocabulary, train_model
from m5jax.data.vocabulary_extension import count_words, extend_vocabulary, fertility, split_pieces
from m5jax.errors import UserError

SIZE, ADDED = 560, 60


def texts(letters: str, seed: int, count: int) -> list[str]:
    """Sentences of words from a few syllables, some of them frequent."""
    generator = random.Random(seed)
    syllables = ["".join(generator.choices(letters, k=generator.randint(2, 3))) for _ in range(40)]
    words = ["".join(generator.choices(syllables, k=generator.randint(1, 4))) for _ in range(300)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    return ["<title> " + " ".join(generator.choices(words, weights, k=12)) for _ in range(count)]


OLD_TEXTS, NEW_TEXTS = texts("abcdefghij", 1, 300), texts("abcdefghij", 2, 300)
FOREIGN_TEXTS = texts("αβγδεζηθ", 3, 300)


def scores(vocabulary: Vocabulary) -> list[float]:
    return [piece.score for piece in sentencepiece_model_pb2.ModelProto.FromString(vocabulary.model).pieces]


def all_pieces(vocabulary: Vocabulary) -> list[str]:
    return vocabulary.pieces(range(vocabulary.text_size))


@pytest.fixture(scope="module")
def old() -> Vocabulary:
    return Vocabulary(train_model(OLD_TEXTS, SIZE))


@pytest.fixture(scope="module")
def extended(old: Vocabulary) -> Vocabulary:
    return extend_vocabulary(old, NEW_TEXTS, SIZE + ADDED)


def test_old_pieces_keep_their_ids_and_scores(old: Vocabulary, extended: Vocabulary) -> None:
    assert all_pieces(extended)[:SIZE] == all_pieces(old)
    assert scores(extended)[:SIZE] == scores(old)
    assert extended.size == SIZE + ADDED
    assert len(set(all_pieces(extended))) == SIZE + ADDED
    assert scores(extended)[SIZE:] == sorted(scores(extended)[SIZE:], reverse=True)


def test_the_new_texts_take_fewer_tokens_and_come_back(old: Vocabulary, extended: Vocabulary) -> None:
    words = sum(len(text.split()) for text in NEW_TEXTS)
    for vocabulary in (old, extended):
        tokens = sum(len(ids) for ids in vocabulary.encode(NEW_TEXTS))
        assert fertility(vocabulary, NEW_TEXTS) == pytest.approx(tokens / words)
    assert fertility(extended, NEW_TEXTS) < 0.8 * fertility(old, NEW_TEXTS)
    used = collections.Counter(index for ids in extended.encode(NEW_TEXTS) for index in ids)
    assert all(used[index] for index in range(SIZE, SIZE + ADDED))
    unseen = texts("abcdefghij", 2, 320)[300:]
    assert [extended.decode(ids).strip() for ids in extended.encode(unseen)] == unseen


def test_old_texts_of_another_script_are_split_as_before(old: Vocabulary) -> None:
    extended = extend_vocabulary(old, FOREIGN_TEXTS, SIZE + ADDED)
    assert extended.encode(OLD_TEXTS) == old.encode(OLD_TEXTS)
    assert fertility(extended, FOREIGN_TEXTS) < 0.3 * fertility(old, FOREIGN_TEXTS)  # of bytes
    assert {"α", "θ"} <= {letter for piece in all_pieces(extended)[SIZE:] for letter in piece}


def test_two_extensions_give_the_same_bytes(old: Vocabulary, extended: Vocabulary) -> None:
    assert extend_vocabulary(old, NEW_TEXTS, SIZE + ADDED).model == extended.model


def test_an_extension_can_be_extended(old: Vocabulary, extended: Vocabulary) -> None:
    again = extend_vocabulary(extended, FOREIGN_TEXTS, SIZE + ADDED + 30)
    assert all_pieces(again)[: SIZE + ADDED] == all_pieces(extended)


def test_a_new_piece_scores_its_log_frequency_on_the_scale_of_the_old_ones(
    old: Vocabulary, extended: Vocabulary
) -> None:
    """By one more round of estimation, from whole texts and in plain Python."""
    union = module._Union(old, dict(zip(all_pieces(extended)[SIZE:], scores(extended)[SIZE:], strict=True)))
    counts = collections.Counter(index for ids in extended.encode(NEW_TEXTS) for index in ids)
    total, learned = sum(counts.values()), range(FIRST_LEARNED_ID, SIZE)
    given = sum(counts[index] * scores(old)[index] for index in learned)
    frequent = sum(counts[index] * math.log(counts[index] / total) for index in learned if counts[index])
    scale = (given - frequent) / sum(counts[index] for index in learned)
    assert scale < 0
    estimated = union.estimated(count_words(NEW_TEXTS))
    for index, piece in enumerate(all_pieces(extended)[SIZE:], SIZE):
        assert estimated.scores[piece] == pytest.approx(math.log(counts[index] / total) + scale, abs=1e-5)
        assert estimated.counts[piece] == counts[index]


def best_split(piece: str, known: dict[str, float]) -> float:
    """Returns the highest sum of scores over ways to write a piece with known ones."""
    best = [0.0, *[-math.inf] * len(piece)]
    for end in range(1, len(piece) + 1):
        best[end] = max(best[start] + known.get(piece[start:end], -math.inf) for start in range(end))
    return best[-1]


def test_what_a_piece_gains_is_what_its_best_other_split_costs(old: Vocabulary, extended: Vocabulary) -> None:
    new = all_pieces(extended)[SIZE:]
    union = module._Union(old, dict(zip(new, scores(extended)[SIZE:], strict=True)), dict.fromkeys(new, 2.0))
    known = dict(zip(all_pieces(extended), scores(extended), strict=True))
    for piece, gain in union.gains().items():
        others = {other: score for other, score in known.items() if other != piece}
        assert gain == pytest.approx(2.0 * (known[piece] - best_split(piece, others)), abs=1e-4)


def test_pruned_pieces_serve_better_than_the_highest_scores(old: Vocabulary, extended: Vocabulary) -> None:
    candidates = module._candidates(old, NEW_TEXTS, SIZE + ADDED)
    highest = dict(sorted(candidates.items(), key=lambda item: -item[1])[:ADDED])
    naive = Vocabulary(module._with_pieces(old, highest))
    assert fertility(extended, NEW_TEXTS) < fertility(naive, NEW_TEXTS)


def test_pieces_are_split_as_in_a_text(old: Vocabulary) -> None:
    inside, first = split_pieces(old, ["abcde", "\u2581abcde"])
    assert "".join(old.pieces(inside)) == "abcde"
    assert old.encode(["abcde"])[0] == first
    assert "".join(old.pieces(first)) == "\u2581abcde"
    (foreign,) = split_pieces(old, ["ж"])
    assert old.pieces(foreign) == ["<0xD0>", "<0xB6>"]


@pytest.mark.parametrize("size", [SIZE, SIZE - 1, 1])
def test_a_size_that_adds_nothing_is_refused(old: Vocabulary, size: int) -> None:
    with pytest.raises(UserError, match=f"size {size} extends nothing: the vocabulary has {SIZE} pieces"):
        extend_vocabulary(old, NEW_TEXTS, size)


def test_a_size_beyond_the_texts_names_the_largest(old: Vocabulary) -> None:
    with pytest.raises(UserError, match=r"size 50000 is too large, the largest possible: \d+") as error:
        extend_vocabulary(old, NEW_TEXTS, 50_000)
    largest = int(str(error.value).rsplit(" ", 1)[1])
    extended = extend_vocabulary(old, NEW_TEXTS, largest)
    assert extended.size == largest
    assert np.isfinite(scores(extended)).all()
