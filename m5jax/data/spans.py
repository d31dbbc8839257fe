"""Which tokens of a text a denoising objective hides: boolean masks, and the group (token, word, span) of each token.

Pure numpy. Counts that are not whole are rounded up or down at random, so that they are right in expectation.
"""

import numpy as np
from jaxtyping import Bool, Int

Mask = Bool[np.ndarray, " tokens"]
Groups = Int[np.ndarray, " tokens"]


def round_at_random(expected: float, generator: np.random.Generator) -> int:
    """Returns the floor or the ceiling of `expected`, which is the expectation of what is returned."""
    return int(np.floor(expected + generator.random()))


def choose_tokens(candidates: Mask, rate: float, generator: np.random.Generator) -> tuple[Mask, Groups]:
    """Chooses `rate` of the candidates uniformly, each on its own (BERT, arXiv 1810.04805, section 3.1)."""
    positions = np.flatnonzero(candidates)
    count = round_at_random(rate * len(positions), generator)
    mask = np.zeros(len(candidates), bool)
    mask[generator.permutation(positions)[:count]] = True
    return mask, np.arange(len(candidates))


def choose_words(candidates: Mask, words: Groups, rate: float, generator: np.random.Generator) -> tuple[Mask, Groups]:
    """Chooses whole words in random order until `rate` of the candidate tokens is reached.

    (BERT's whole-word masking, github.com/google-research/bert, 2019.) The word that crosses the number is taken with
    the probability that makes the expected number of tokens exact.

    Args:
        candidates: tokens that may be chosen.
        words: the word of each token, not negative; see `word_numbers`.
        rate: share of the candidates to choose.
        generator: of the choice.
    """
    sizes = np.bincount(words[candidates], minlength=1)
    present = generator.permutation(np.flatnonzero(sizes))
    target = round_at_random(rate * sizes.sum(), generator)
    before = np.cumsum(sizes[present]) - sizes[present]
    share = np.clip((target - before) / sizes[present], 0.0, 1.0)
    chosen = np.zeros(len(sizes), bool)
    chosen[present[generator.random() < share]] = True
    return candidates & chosen[np.minimum(words, len(sizes) - 1)], words


def choose_spans(
    candidates: Mask,
    words: Groups,
    rate: float,
    generator: np.random.Generator,
    success: float = 0.2,
    longest: int = 10,
) -> tuple[Mask, Groups]:
    """Chooses spans of consecutive whole words (SpanBERT, arXiv 1907.10529, section 3.1).

    `rate` of the words with a candidate are chosen. A span's length in words is geometric, P(l) proportional to
    success * (1 - success)**(l - 1) up to `longest`, except for the last span, which ends where the number is reached.
    At least one word lies between two spans, and every arrangement of them is equally likely.

    Returns:
        The mask, and the span of each chosen token (0 elsewhere).
    """
    present = np.unique(words[candidates])
    total = len(present)
    target = round_at_random(rate * total, generator)
    lengths = truncated_geometric(target, success, longest, generator)
    # Spans until the number is reached, as many as leave a word between any two.
    lengths = (
        lengths[: 1 + min(int(np.searchsorted(np.cumsum(lengths), target)), total - target)] if target else lengths
    )
    if target:
        lengths[-1] -= max(0, int(lengths.sum()) - target)
    # Of the words left over, one stands in each inner gap; the outer gaps may be empty.
    gaps = random_composition(total - int(lengths.sum()) + 2, len(lengths) + 1, generator)
    gaps[[0, -1]] -= 1 if len(gaps) > 1 else 0
    number = np.zeros(int(words.max(initial=0)) + 1, np.int64)
    starts = np.cumsum(gaps[:-1]) + np.cumsum(lengths) - lengths
    for span, (start, length) in enumerate(zip(starts, lengths, strict=True), start=1):
        number[present[start : start + length]] = span
    groups = number[words]
    return candidates & (groups > 0), groups


def truncated_geometric(
    count: int, success: float, longest: int, generator: np.random.Generator
) -> Int[np.ndarray, " count"]:
    """Returns lengths from 1 to `longest` with P(l) proportional to (1 - success)**(l - 1)."""
    reach = 1.0 - (1.0 - success) ** longest
    drawn = np.ceil(np.log1p(-generator.random(count) * reach) / np.log1p(-success))
    return np.clip(drawn, 1, longest).astype(np.int64)


def random_composition(total: int, parts: int, generator: np.random.Generator) -> Int[np.ndarray, " parts"]:
    """Returns `parts` positive integers that sum to `total`, each such sequence with equal probability."""
    bounds = np.sort(generator.permutation(total - 1)[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], bounds, [total]]))


def random_spans(length: int, noise: int, spans: int, generator: np.random.Generator) -> Mask:
    """Returns a mask of `noise` tokens in `spans` spans, the first token and the gaps between spans never masked.

    As T5's (arXiv 1910.10683, section 3.1.4; `random_spans_noise_mask` of its code): the lengths of spans and of gaps
    are random compositions. Needs spans <= min(noise, length - noise).
    """
    gaps = random_composition(length - noise, spans, generator)
    hidden = random_composition(noise, spans, generator)
    lengths = np.stack([gaps, hidden], axis=1).reshape(-1)
    return np.repeat(np.tile([False, True], spans), lengths)


def word_numbers(starts: Mask) -> Groups:
    """Returns the word of each token, from 0 in order, where `starts` marks first tokens of words."""
    return np.maximum(np.cumsum(starts) - 1, 0)
