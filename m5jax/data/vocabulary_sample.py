"""A sample of texts, balanced over languages: what vocabularies are trained on."""

import random
from collections.abc import Iterable, Mapping

from m5jax.data.mixing import mixing_rates
from m5jax.errors import UserError


def sample_texts(
    texts_by_language: Mapping[str, Iterable[str]],
    counts: Mapping[str, int],
    *,
    alpha: float,
    max_sentences: int,
    seed: int,
) -> dict[str, list[str]]:
    """Returns texts of each language, at `mixing_rates(counts, alpha)`.

    A language smaller than its share is repeated to fill it. Texts are streamed: memory holds the sample only.

    Args:
        texts_by_language: serialized texts, one iterable a language.
        counts: number of texts of each language.
        alpha: exponent of the sampling rates.
        max_sentences: size of the sample, in texts.
        seed: of the sample.

    Raises:
        UserError: a language has no texts.
    """
    rates = mixing_rates(counts, alpha)
    total = min(max_sentences, sum(counts.values()))
    return {
        language: _sample(texts, max(1, round(rates[language] * total)), random.Random(f"{seed}/{language}"), language)
        for language, texts in texts_by_language.items()
    }


def _sample(texts: Iterable[str], quota: int, generator: random.Random, language: str) -> list[str]:
    """Returns `quota` texts: a uniform sample (reservoir), then the same again with their words in random order."""
    sample: list[str] = []
    for index, text in enumerate(texts):
        if index < quota:
            sample.append(text)
        elif (slot := generator.randrange(index + 1)) < quota:
            sample[slot] = text
    if not sample:
        raise UserError(f"cannot train a vocabulary: language {language!r} has no texts")
    distinct = len(sample)
    for index in range(quota - distinct):
        # Pieces never cross white space, so word order does not matter to the result; but the trainer's search for
        # frequent strings takes quadratic time on long repeated ones.
        words = sample[index % distinct].split()
        generator.shuffle(words)
        sample.append(" ".join(words))
    return sample
