"""Which old rows the ids of an extended vocabulary begin with."""

import pytest

from m5jax.data.vocabulary import Vocabulary, train_model
from m5jax.data.vocabulary_extension import extend_vocabulary
from m5jax.data.vocabulary_rows import check_extension, row_sources
from m5jax.errors import UserError
from tests.data.test_vocabulary_extension import NEW_TEXTS, OLD_TEXTS

OLD = Vocabulary(train_model(OLD_TEXTS, 520), labels=("brand:a", "brand:b", "type:x"))
EXTENDED = extend_vocabulary(OLD, NEW_TEXTS, 540).model


def labelled(model: bytes, *labels: str) -> Vocabulary:
    return Vocabulary(model, labels=labels)


def test_the_same_vocabulary_keeps_all_rows() -> None:
    assert row_sources(OLD, OLD) == {}


def test_a_new_piece_begins_with_the_pieces_that_it_was_split_into() -> None:
    sources = row_sources(OLD, labelled(EXTENDED))
    assert list(sources) == list(range(520, 540))
    pieces = labelled(EXTENDED).pieces(sources)
    assert ["".join(OLD.pieces(own)) for own in sources.values()] == pieces
    assert all(max(own) < 520 for own in sources.values())
    # As a word of its own, where it begins one.
    words = {piece: own for piece, own in zip(pieces, sources.values(), strict=True) if piece.startswith("\u2581")}
    assert words
    assert OLD.encode([word.removeprefix("\u2581") for word in words]) == list(words.values())


def test_labels_go_with_their_names_and_those_that_are_new_with_nothing() -> None:
    fewer = row_sources(OLD, labelled(OLD.model, "brand:b", "type:x", "type:y"))
    assert fewer == {520: [521], 521: [522], 522: []}
    extended = row_sources(OLD, labelled(EXTENDED, "brand:c", "type:x"))
    assert [extended[index] for index in (540, 541)] == [[], [522]]


def test_an_extension_is_told_from_another_vocabulary() -> None:
    check_extension(OLD, labelled(EXTENDED), "runs/a")
    check_extension(OLD, labelled(OLD.model), "runs/a")
    other = Vocabulary(train_model(NEW_TEXTS, 520))
    with pytest.raises(
        UserError, match=r"neither that of runs/a nor an extension of it: id 4\d\d is .+ there, .+ here"
    ):
        check_extension(OLD, other, "runs/a")
    with pytest.raises(UserError, match="id 520 is .* there, nothing here; m5jax vocabulary extend makes one"):
        check_extension(labelled(EXTENDED), OLD, "runs/a")
