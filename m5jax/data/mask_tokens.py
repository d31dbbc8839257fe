"""Masked-LM inputs and targets of one text. Pure numpy."""

import numpy as np
from jaxtyping import Int

from m5jax.data.masking_policy import MaskingPolicy
from m5jax.data.spans import Groups, Mask, choose_spans, choose_tokens, choose_words, word_numbers
from m5jax.data.vocabulary import FIRST_LEARNED_ID, FIRST_TEXT_ID, MASK_ID, VALUE_IDS

Tokens = Int[np.ndarray, " tokens"]


def mask_tokens(
    tokens: Tokens, policy: MaskingPolicy, word_starts: np.ndarray, generator: np.random.Generator
) -> tuple[Tokens, Tokens]:
    """Masks text tokens, never special ids, field tokens or the end of sequence.

    Args:
        tokens: int32 [n].
        policy: how many and how.
        word_starts: bool [vocabulary size]: ids that begin a word; see `word_start_table`.
        generator: of everything random.

    Returns:
        `inputs`, as the model reads them, and `targets`: the original id at the chosen positions, 0 elsewhere.
    """
    mask, groups = choose(tokens, policy, word_starts, generator)
    positions = np.flatnonzero(mask)
    # SpanBERT replaces all tokens of a span in one way, BERT each token of a word on its own.
    action = generator.random(len(tokens) + 1)  # spans are numbered from 1
    action = action[groups[positions]] if policy.unit == "span" else action[positions]
    becomes_mask = positions[action < policy.mask_share]
    becomes_random = positions[(action >= policy.mask_share) & (action < policy.mask_share + policy.random_share)]
    inputs, targets = tokens.copy(), np.zeros_like(tokens)
    targets[positions] = tokens[positions]
    inputs[becomes_mask] = MASK_ID
    inputs[becomes_random] = generator.integers(FIRST_LEARNED_ID, len(word_starts), len(becomes_random))
    return inputs, targets


def choose(
    tokens: Tokens, policy: MaskingPolicy, word_starts: np.ndarray, generator: np.random.Generator
) -> tuple[Mask, Groups]:
    """Returns which tokens to predict, and the group of each."""
    is_text = tokens >= FIRST_TEXT_ID
    # The place of the last reserved token so far, which says what field a token is in.
    field = np.maximum.accumulate(np.where(is_text, 0, np.arange(len(tokens))))
    maskable = is_text & np.isin(tokens[field], VALUE_IDS) if policy.scope == "values" else is_text
    if policy.unit == "value":
        return choose_words(maskable, field, policy.rate, generator)
    if policy.unit == "token":
        return choose_tokens(maskable, policy.rate, generator)
    words = words_of(tokens, word_starts)
    if policy.unit == "word":
        return choose_words(maskable, words, policy.rate, generator)
    return choose_spans(maskable, words, policy.rate, generator)


def words_of(tokens: Tokens, word_starts: np.ndarray) -> Groups:
    """Returns the word of each token, from 0 in order; reserved tokens are words of their own.

    Args:
        tokens: int32 [n].
        word_starts: as in `mask_tokens`.
    """
    is_text = tokens >= FIRST_TEXT_ID
    # A text token after a reserved one begins a word too, though no space stands between them.
    starts = word_starts[tokens] | ~is_text
    starts[1:] |= ~is_text[:-1]
    return word_numbers(starts)
