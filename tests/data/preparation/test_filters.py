import dataclasses
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.preparation.filters import (
    QualityFilters,
    duplicate_line_share,
    duplicate_ngram_share,
    letter_share,
    top_ngram_share,
)
from m5jax.errors import UserError

PROSE = " ".join(
    f"word{chr(97 + i % 26)}{chr(97 + i // 26)} and{chr(97 + i % 7)}{chr(97 + i // 7 % 26)}" for i in range(90)
)
GOOD = {
    "title": "Benq ZOWIE RL2455 24 Full HD TN grey computer monitor",
    "German compound": "Donaudampfschifffahrtsgesellschaft Kapitänsmütze blau",
    "Arabic": "مطعم فاجأني بفخامته وديكوره الأكثر من رائع",
    "Arabic with vowels": "السَّلامُ عَلَيْكُم وَرَحْمَةُ اللهِ وَبَرَكاتُه",
    "Chinese": "这个水壶三分钟就能烧开一升水",
    "prose": PROSE,
}
BAD = {
    "too_few_characters": "a b c",
    "too_many_characters": "lorem ipsum dolor " * 40_000,
    "too_few_words": "Supercalifragilistic!",
    "too_few_letters": "12 34 56 78 -- 90 kg",
    "words_too_long": "Rindfleischetikettierungsüberwachungsaufgaben " * 2 + "Nahrungsmittelunverträglichkeit",
    "repeated_lines": "Add to cart\nAdd to cart\nAdd to cart\nA red kettle",
    "repeated_words": f"{PROSE} {'buy now ' * 60}",
}


@pytest.mark.parametrize("name", GOOD)
def test_good_texts_pass(name):
    assert QualityFilters().broken_rule(GOOD[name]) is None


@pytest.mark.parametrize("rule", BAD)
def test_bad_texts_break_their_rule(rule):
    assert QualityFilters().broken_rule(BAD[rule]) == rule


def test_repeated_sequences_and_too_many_words():
    halves = " ".join(PROSE.split()[:80])
    assert QualityFilters().broken_rule(f"{halves} between {halves}") == "repeated_sequences"
    assert QualityFilters(maximum_words=3).broken_rule("one two three four") == "too_many_words"


# Words of letters only, so that characters are easy to count in another way.
WORDS = st.lists(st.sampled_from(["a", "bb", "ccc", "dddd"]), min_size=1, max_size=30)


@given(WORDS, st.integers(2, 5))
def test_repetition_against_naive_counts(words, size):
    total = sum(map(len, words))
    starts = range(len(words) - size + 1)
    ngrams = [tuple(words[start : start + size]) for start in starts]
    counts = Counter(ngrams)
    most = max(counts.values(), default=0)
    shares = [count * len("".join(ngram)) / total for ngram, count in counts.items() if count == most]
    assert top_ngram_share(words, size) == (min(1.0, max(shares)) if most > 1 else 0.0)
    again = {start + offset for start in starts if ngrams[start] in ngrams[:start] for offset in range(size)}
    assert duplicate_ngram_share(words, size) == sum(len(words[index]) for index in again) / total


def test_shares():
    assert letter_share("ab 12") == 0.5
    assert letter_share("") == 0.0
    assert letter_share("عَلَيْكُم") == 1.0
    assert duplicate_line_share("abc\nabc\ndef") == pytest.approx(1 / 3)


def test_wrong_settings_are_refused():
    for field in dataclasses.fields(QualityFilters):
        with pytest.raises(UserError, match=field.name):
            QualityFilters(**{field.name: -1})
    with pytest.raises(UserError, match="no text could pass"):
        QualityFilters(minimum_words=10, maximum_words=5)
