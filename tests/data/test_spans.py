"""Which tokens are hidden: properties on any input, and distributions against naive references."""

import collections
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from m5jax.data.spans import (
    choose_spans,
    choose_tokens,
    choose_words,
    random_composition,
    random_spans,
    round_at_random,
    truncated_geometric,
    word_numbers,
)

LEAST_PROBABILITY = 1e-3
SEEDS = st.integers(0, 2**32 - 1)
RATES = st.floats(0.01, 0.99)


@st.composite
def texts(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Returns candidates and word starts of some tokens."""
    size = draw(st.integers(0, 60))
    booleans = st.lists(st.booleans(), min_size=size, max_size=size)
    return np.array(draw(booleans), bool), np.array(draw(booleans), bool)


@given(texts(), RATES, SEEDS)
def test_tokens_are_candidates_and_as_many_as_the_rate_says(
    text: tuple[np.ndarray, np.ndarray], rate: float, seed: int
) -> None:
    candidates, _ = text
    mask, groups = choose_tokens(candidates, rate, np.random.default_rng(seed))
    assert not (mask & ~candidates).any()
    assert abs(mask.sum() - rate * candidates.sum()) < 1
    assert groups.tolist() == list(range(len(candidates)))


@given(texts(), RATES, SEEDS)
def test_words_are_chosen_whole(text: tuple[np.ndarray, np.ndarray], rate: float, seed: int) -> None:
    candidates, starts = text
    words = word_numbers(starts)
    mask, groups = choose_words(candidates, words, rate, np.random.default_rng(seed))
    assert groups is words
    for word in set(words.tolist()):
        own = candidates & (words == word)
        assert (mask & (words == word)).sum() in (0, own.sum())
    assert not (mask & ~candidates).any()


@given(texts(), RATES, SEEDS)
def test_spans_are_consecutive_whole_words_with_words_between(
    text: tuple[np.ndarray, np.ndarray], rate: float, seed: int
) -> None:
    candidates, starts = text
    words = word_numbers(starts)
    mask, groups = choose_spans(candidates, words, rate, np.random.default_rng(seed), longest=4)
    present = sorted(set(words[candidates].tolist()))
    span_of = {word: {int(g) for g in groups[mask & (words == word)]} for word in present}
    assert all(len(spans) <= 1 for spans in span_of.values())
    in_order = [next(iter(span_of[word]), 0) for word in present]
    for word, span in zip(present, in_order, strict=True):
        own = candidates & (words == word)
        assert (mask & own).sum() == (own.sum() if span else 0)
    runs = [(span, len(list(same))) for span, same in itertools.groupby(in_order)]
    numbered = [span for span, _ in runs if span]
    assert numbered == list(range(1, len(numbered) + 1))
    assert all(length <= 4 for span, length in runs if span)
    assert all(not (a and b) for (a, _), (b, _) in itertools.pairwise(runs))
    assert sum(length for span, length in runs if span) <= rate * len(present) + 1


@pytest.mark.parametrize("rate", [0.15, 0.37])
def test_expected_shares_are_exact(rate: float) -> None:
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 6, 30)
    words = np.repeat(np.arange(30), sizes)
    candidates = generator.random(len(words)) < 0.8
    by_words = [choose_words(candidates, words, rate, generator)[0].sum() for _ in range(20_000)]
    expected = rate * candidates.sum()
    assert abs(np.mean(by_words) - expected) < 4 * np.std(by_words) / np.sqrt(len(by_words))
    every = np.ones(90, bool)
    triples = np.repeat(np.arange(30), 3)
    by_spans = [choose_spans(every, triples, rate, generator)[0].sum() / 3 for _ in range(5_000)]
    assert np.mean(by_spans) == pytest.approx(rate * 30, abs=4 * np.std(by_spans) / np.sqrt(5_000))


def test_geometric_lengths_are_those_of_spanbert() -> None:
    lengths = truncated_geometric(100_000, 0.2, 10, np.random.default_rng(1))
    weights = np.array([0.2 * 0.8**k for k in range(10)])
    weights /= weights.sum()
    # The paper gives the mean as 3.8.
    assert np.mean(lengths) == pytest.approx(3.8, abs=0.03)
    assert stats.chisquare(np.bincount(lengths, minlength=11)[1:], 100_000 * weights).pvalue > LEAST_PROBABILITY


def test_every_arrangement_of_spans_is_equally_likely() -> None:
    generator = np.random.default_rng(2)
    every, words = np.ones(7, bool), np.arange(7)
    seen: collections.Counter[str] = collections.Counter()
    for _ in range(30_000):
        # 3 of 7 words; spans of at most one word: three single words apart from each other.
        mask, _ = choose_spans(every, words, 3 / 7 - 1e-9, generator, longest=1)
        if mask.sum() == 3:
            seen["".join(map(str, mask.astype(int)))] += 1
    apart = [c for c in itertools.combinations(range(7), 3) if c[1] - c[0] > 1 and c[2] - c[1] > 1]
    assert len(seen) == len(apart)
    assert stats.chisquare(list(seen.values())).pvalue > LEAST_PROBABILITY


def test_compositions_are_uniform() -> None:
    generator = np.random.default_rng(3)
    seen = collections.Counter(tuple(random_composition(6, 3, generator).tolist()) for _ in range(20_000))
    expected = [c for c in itertools.product(range(1, 7), repeat=3) if sum(c) == 6]
    assert set(seen) == set(expected)
    assert stats.chisquare(list(seen.values())).pvalue > LEAST_PROBABILITY


def naive_random_spans(length: int, noise: int, spans: int, generator: np.random.Generator) -> list[bool]:
    """T5's algorithm, step by step: shuffle which boundaries begin a new segment, twice, and interleave."""

    def segment(items: int, segments: int) -> list[int]:
        first = [False] * (items - 1)
        first[: segments - 1] = [True] * (segments - 1)
        generator.shuffle(first)
        lengths = [1]
        for begins in first:
            if begins:
                lengths.append(1)
            else:
                lengths[-1] += 1
        return lengths

    mask: list[bool] = []
    for kept, hidden in zip(segment(length - noise, spans), segment(noise, spans), strict=True):
        mask += [False] * kept + [True] * hidden
    return mask


def test_random_spans_have_the_distribution_of_t5() -> None:
    generator = np.random.default_rng(4)
    draws = 20_000
    ours = collections.Counter(tuple(random_spans(9, 4, 2, generator).tolist()) for _ in range(draws))
    theirs = collections.Counter(tuple(naive_random_spans(9, 4, 2, generator)) for _ in range(draws))
    assert set(ours) == set(theirs)
    table = [[counter[key] for key in ours] for counter in (ours, theirs)]
    assert stats.chi2_contingency(table).pvalue > LEAST_PROBABILITY


def test_rounding_at_random_is_right_in_expectation() -> None:
    generator = np.random.default_rng(5)
    drawn = [round_at_random(2.3, generator) for _ in range(20_000)]
    assert set(drawn) == {2, 3}
    assert stats.binomtest(drawn.count(3), len(drawn), 0.3).pvalue > LEAST_PROBABILITY
