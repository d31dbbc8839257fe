"""Near-duplicates against sets of word tuples compared pair by pair."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.preparation.near_duplicates import (
    NearDuplicates,
    jaccard,
    later_duplicates,
    minhash_signature,
    shingle_hashes,
)
from m5jax.errors import UserError

SETTINGS = NearDuplicates()


def naive_shingles(words, size):
    return {tuple(words[start : start + size]) for start in range(max(1, len(words) - size + 1))} if words else set()


def naive_jaccard(left, right):
    return len(left & right) / len(left | right) if left and right else 0.0


WORDS = st.lists(st.sampled_from("abcdefg"), max_size=12)


@given(WORDS, WORDS, st.integers(1, 4))
def test_jaccard_of_hashes_is_that_of_the_sets(left, right, size):
    expected = naive_jaccard(naive_shingles(left, size), naive_shingles(right, size))
    assert jaccard(shingle_hashes(left, size), shingle_hashes(right, size)) == expected


def test_no_two_shingles_share_a_hash_and_order_matters():
    words = [f"w{index}" for index in range(200)]
    pairs = [(left, right) for left in words for right in words]
    assert len({int(shingle_hashes(pair, 2)[0]) for pair in pairs}) == len(pairs)


@given(
    st.lists(st.sets(st.integers(0, 25), min_size=1, max_size=12), max_size=14), st.sampled_from([0.3, 0.5, 0.8, 1.0])
)
def test_later_duplicates_against_all_comparisons(sets, threshold):
    arrays = [np.array(sorted(values), np.uint64) for values in sets]
    kept, expected = [], []
    for position, values in enumerate(sets):
        if any(naive_jaccard(values, sets[other]) >= threshold for other in kept):
            expected.append(position)
        else:
            kept.append(position)
    assert list(later_duplicates(arrays, threshold)) == expected


def test_a_bucket_of_thousands_with_one_template_is_not_compared_pair_by_pair(monkeypatch):
    compared = []
    module = "m5jax.data.preparation.near_duplicates.jaccard"
    monkeypatch.setattr(module, lambda left, right: compared.append(1) or jaccard(left, right))
    # Half of each text is the template, half its own: similarity a third. The last thousand are copies but for a word.
    template = np.arange(100, dtype=np.uint64)
    texts = [np.concatenate([template, np.arange(100, dtype=np.uint64) + 1000 + 100 * index]) for index in range(3000)]
    copies = [np.sort(np.append(texts[0][:-1], np.uint64(10**9 + index))) for index in range(1000)]
    assert list(later_duplicates([*texts, *copies], 0.8)) == list(range(3000, 4000))
    assert len(compared) < 5000


def test_signatures_estimate_the_similarity():
    generator = np.random.default_rng(0)
    shared, left, right = np.split(generator.integers(0, 2**63, 3000).astype(np.uint64), [1500, 2000])
    first, second = (np.unique(np.concatenate([shared, own])) for own in (left, right))
    same = np.mean(minhash_signature(first, 1024) == minhash_signature(second, 1024))
    assert same == pytest.approx(jaccard(first, second), abs=0.05)


@pytest.mark.parametrize("seed", [0, 1])
def test_pairs_at_the_threshold_share_a_band(seed):
    generator = random.Random(seed)
    missed = pairs = 0
    for _ in range(400):
        words = [str(generator.randrange(10**6)) for _ in range(60)]
        changed = list(words)
        changed[generator.randrange(60)] = "other"
        changed[generator.randrange(60)] = "another"
        left, right = (shingle_hashes(text, 3) for text in (words, changed))
        if jaccard(left, right) >= 0.8:
            pairs += 1
            missed += not set(SETTINGS.band_keys(left, "en")) & set(SETTINGS.band_keys(right, "en"))
    # At 0.81, where most of them are, one in 700 is expected to be missed.
    assert pairs > 300
    assert missed <= 3


def test_languages_share_no_bucket():
    shingles = SETTINGS.shingles("the same text in both of them")
    assert not set(SETTINGS.band_keys(shingles, "en")) & set(SETTINGS.band_keys(shingles, "de"))


def test_bands_keep_their_promise_and_are_as_few_as_can_be():
    bands, rows = SETTINGS.bands
    assert (bands, rows) == (21, 6)
    assert SETTINGS.candidate_probability(0.8) >= 0.995 > 1 - (1 - 0.8**7) ** 18
    assert SETTINGS.candidate_probability(0.4) < 0.1


def test_wrong_settings_are_refused():
    for wrong in ({"threshold": 1.5}, {"shingle_words": 0}, {"permutations": 3}):
        with pytest.raises(UserError, match=f"NearDuplicates.{next(iter(wrong))}"):
            NearDuplicates(**wrong)
    assert NearDuplicates(threshold=0.3, permutations=16).bands == (16, 1)
