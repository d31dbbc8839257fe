"""What masking chooses, in the three scripts: whole words by their spaces, and attributes' values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.mask_tokens import choose, mask_tokens
from m5jax.data.masking_policy import MaskingPolicy
from m5jax.data.vocabulary import FIRST_TEXT_ID, MASK_ID, Vocabulary, train_vocabulary
from m5jax.errors import UserError

WORDS = {
    "en": "stainless kettle with removable filter",
    "de": "Edelstahlwasserkocher mit Überhitzungsschutz und Kalkfilter",
    "ar": "غلاية كهربائية بالفولاذ المقاوم للصدأ والحماية",
}


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    """One with few pieces, so that words have several."""
    texts = {language: [text] * 20 for language, text in WORDS.items()}
    path = tmp_path_factory.mktemp("vocabulary") / "small.model"
    return train_vocabulary(texts, dict.fromkeys(texts, 20), size=460, output=path)


def tokens_of(vocabulary: Vocabulary, text: str) -> np.ndarray:
    return np.array([*vocabulary.encode([text])[0], vocabulary.eos_id], np.int32)


@pytest.mark.parametrize("language", sorted(WORDS))
def test_whole_words_are_those_between_spaces(vocabulary: Vocabulary, language: str) -> None:
    text = f"<title> {WORDS[language]}<category> {WORDS[language]}"
    tokens = tokens_of(vocabulary, text)
    assert len(tokens) > 2 * len(WORDS[language].split()) + 3  # some words have several pieces
    policy = MaskingPolicy(rate=0.4, mask_share=1.0, random_share=0.0, unit="word")
    words = vocabulary.decode(tokens).replace("<title>", " ").replace("<category>", " ").split()
    for seed in range(30):
        mask, _ = choose(tokens, policy, vocabulary.word_starts(), np.random.default_rng(seed))
        # With the chosen pieces left out, the words that remain are words of the text.
        rest = vocabulary.decode(tokens[~mask]).replace("<title>", " ").replace("<category>", " ").split()
        remaining = iter(words)
        assert all(word in remaining for word in rest)


def test_values_are_masked_whole_and_nothing_else(vocabulary: Vocabulary) -> None:
    text = "<title> kettle<attribute> filter<value> removable stainless<field_3> kettle with<category> kettle"
    tokens = tokens_of(vocabulary, text)
    policy = MaskingPolicy(rate=0.5, mask_share=1.0, random_share=0.0, unit="value", scope="values")
    seen = set()
    for seed in range(40):
        inputs, targets = mask_tokens(tokens, policy, vocabulary.word_starts(), np.random.default_rng(seed))
        assert np.array_equal(inputs == MASK_ID, targets > 0)
        seen.add(vocabulary.decode(targets[targets > 0]).strip())
    assert seen <= {"", "removable stainless", "kettle with", "removable stainless kettle with"}
    assert {"removable stainless", "kettle with"} <= seen
    by_token = MaskingPolicy(rate=0.5, scope="values")
    masks = [choose(tokens, by_token, vocabulary.word_starts(), np.random.default_rng(seed))[0] for seed in range(40)]
    chosen = np.any(masks, axis=0)
    assert vocabulary.decode(tokens[chosen]).split() == ["removable", "stainless", "kettle", "with"]
    assert any(0 < mask.sum() < chosen.sum() for mask in masks)


@given(st.lists(st.integers(0, 459), max_size=60), st.integers(0, 2**32 - 1))
def test_reserved_tokens_are_never_masked(vocabulary: Vocabulary, ids: list[int], seed: int) -> None:
    tokens = np.array(ids, np.int32)
    for unit, scope in (("token", "text"), ("word", "text"), ("span", "text"), ("value", "values"), ("word", "values")):
        policy = MaskingPolicy(rate=0.3, unit=unit, scope=scope)
        inputs, targets = mask_tokens(tokens, policy, vocabulary.word_starts(), np.random.default_rng(seed))
        assert inputs.dtype == targets.dtype == np.int32
        reserved = tokens < FIRST_TEXT_ID
        assert np.array_equal(inputs[reserved], tokens[reserved])
        assert not targets[reserved].any()
        assert np.array_equal(np.where(targets > 0, targets, inputs), tokens)


def test_spans_become_one_thing_together(vocabulary: Vocabulary) -> None:
    tokens = tokens_of(vocabulary, " ".join([WORDS["en"]] * 6))
    policy = MaskingPolicy(rate=0.3, unit="span")
    for seed in range(30):
        inputs, targets = mask_tokens(tokens, policy, vocabulary.word_starts(), np.random.default_rng(seed))
        positions = np.flatnonzero(targets)
        for run in np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1):
            masked, same = inputs[run] == MASK_ID, inputs[run] == tokens[run]
            assert masked.all() or not masked.any()
            assert masked.all() or same.all() or same.mean() < 0.5


def test_impossible_policies_are_refused() -> None:
    with pytest.raises(UserError, match=r"unknown MaskingPolicy.unit 'words'; did you mean word"):
        MaskingPolicy(unit="words")
    with pytest.raises(UserError, match=r"unknown MaskingPolicy.scope 'value'; did you mean values"):
        MaskingPolicy(scope="value")
    with pytest.raises(UserError, match="needs MaskingPolicy.scope = 'values'"):
        MaskingPolicy(unit="value")


def test_word_starts_are_the_pieces_after_a_space(vocabulary: Vocabulary) -> None:
    pieces = vocabulary.pieces(range(vocabulary.size))
    assert vocabulary.word_starts().tolist() == [piece.startswith("▁") for piece in pieces]
