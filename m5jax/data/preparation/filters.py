"""Length and quality rules, after C4 (Raffel et al. 2020, arXiv 1910.10683, section 2.2) and Gopher (Rae et al. 2021,
arXiv 2112.11446, appendix A.1.1)."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

from m5jax.data.preparation.normalize import count_letters, split_words
from m5jax.errors import UserError

# Gopher's table A1: the most frequent n-gram of so many words, with its own limit each, as a share of the one for two.
_TOP_NGRAMS = {2: 1.0, 3: 0.9, 4: 0.8}
_DUPLICATE_NGRAM = 5


@dataclasses.dataclass(frozen=True)
class QualityFilters:
    """Rules that a text must keep, in this order; one that breaks several is counted under the first.

    The limits of repetition are Gopher's. Those of length are wide: Gopher's 50 words and C4's five sentences would
    drop every product title. Words of scripts without spaces are single characters (`split_words`).

    Attributes:
        minimum_characters, maximum_characters: length.
        minimum_words, maximum_words: length (Gopher: 50 to 100,000).
        minimum_letter_share: letters and their marks among the characters that are not white space (Gopher asks for
            letters in 80% of the words, which model numbers and units fail).
        maximum_mean_word_length: in characters (Gopher: 3 to 10; German compounds and model numbers are longer, and
            Arabic and Chinese words shorter, so that there is no minimum).
        maximum_duplicate_line_share: characters in lines that stood before, among all.
        repetition_words: shorter texts are not looked at for repeated n-grams: in 50 words, four words that stand twice
            are a sixth of the text.
        maximum_top_ngram_share: characters in the most frequent two words, among those in words; nine and eight tenths
            of it for three and four words.
        maximum_duplicate_ngram_share: characters in words of a sequence of five that stands twice.
    """

    minimum_characters: int = 10
    maximum_characters: int = 500_000
    minimum_words: int = 3
    maximum_words: int = 100_000
    minimum_letter_share: float = 0.5
    maximum_mean_word_length: float = 20.0
    maximum_duplicate_line_share: float = 0.3
    repetition_words: int = 100
    maximum_top_ngram_share: float = 0.2
    maximum_duplicate_ngram_share: float = 0.15

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value < 0 or (name.endswith("share") and value > 1):
                allowed = "0 to 1" if name.endswith("share") else "0 or more"
                raise UserError(f"QualityFilters.{name} = {value}; allowed: {allowed}")
        for unit in ("characters", "words"):
            if getattr(self, f"minimum_{unit}") > getattr(self, f"maximum_{unit}"):
                raise UserError(f"QualityFilters.minimum_{unit} is over maximum_{unit}; no text could pass")

    def broken_rule(self, text: str) -> str | None:
        """Returns the name of the first rule that a normalised `text` breaks, None where it keeps them all."""
        if len(text) < self.minimum_characters:
            return "too_few_characters"
        if len(text) > self.maximum_characters:
            return "too_many_characters"
        words = split_words(text)
        if len(words) < self.minimum_words:
            return "too_few_words"
        if len(words) > self.maximum_words:
            return "too_many_words"
        if letter_share(text) < self.minimum_letter_share:
            return "too_few_letters"
        if sum(map(len, words)) > self.maximum_mean_word_length * len(words):
            return "words_too_long"
        if duplicate_line_share(text) > self.maximum_duplicate_line_share:
            return "repeated_lines"
        if len(words) >= self.repetition_words:
            for size, share in _TOP_NGRAMS.items():
                if top_ngram_share(words, size) > share * self.maximum_top_ngram_share:
                    return "repeated_words"
            if duplicate_ngram_share(words, _DUPLICATE_NGRAM) > self.maximum_duplicate_ngram_share:
                return "repeated_sequences"
        return None


def letter_share(text: str) -> float:
    """Returns the share of letters, with their combining marks, among characters that are not white space; 0 to 1."""
    visible = len("".join(text.split()))
    return count_letters(text) / visible if visible else 0.0


def duplicate_line_share(text: str) -> float:
    """Returns the share of characters in lines that are equal to one before them; 0 to 1."""
    lines = [line for line in text.split("\n") if line]
    total = sum(map(len, lines))
    return 1.0 - sum(map(len, dict.fromkeys(lines))) / total if total else 0.0


def top_ngram_share(words: Sequence[str], size: int) -> float:
    """Returns the characters in occurrences of the most frequent sequence of `size` words, by those in all; 0 to 1.

    A sequence that stands once is no repetition. Occurrences may overlap, as in Gopher; the share is cut at 1.
    """
    counts = Counter(_ngrams(words, size))
    most = max(counts.values(), default=0)
    if most < 2:
        return 0.0
    longest = max(sum(map(len, ngram)) for ngram, count in counts.items() if count == most)
    return min(1.0, most * longest / sum(map(len, words)))


def duplicate_ngram_share(words: Sequence[str], size: int) -> float:
    """Returns the characters in words of any sequence of `size` words that stood before, by those in all; 0 to 1."""
    ngrams = list(_ngrams(words, size))
    if len(set(ngrams)) == len(ngrams):
        return 0.0
    seen: set[tuple[str, ...]] = set()
    covered, repeated = 0, 0  # words before `covered` are counted
    for start, ngram in enumerate(ngrams):
        if ngram in seen:
            repeated += sum(map(len, words[max(covered, start) : start + size]))
            covered = start + size
        seen.add(ngram)
    return repeated / sum(map(len, words))


def _ngrams(words: Sequence[str], size: int) -> "zip[tuple[str, ...]]":
    return zip(*(words[offset:] for offset in range(size)), strict=False)
