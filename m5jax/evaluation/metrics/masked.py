"""Metrics of hidden tokens, words and values: ratios of sums over texts, so that texts are what is resampled."""

import collections
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

HIDDEN = ("token", "word", "value")
MOST_ATTRIBUTES = 10
OTHERS = "(others)"


class Ratio(NamedTuple):
    """A ratio of sums: the mean of `values`, float64 [texts], with `weights`, float64 [texts], above 0."""

    values: np.ndarray
    weights: np.ndarray


def masked_ratios(
    hidden: str, texts: np.ndarray, correct: np.ndarray, losses: np.ndarray, targets: Sequence[str]
) -> dict[str, Ratio]:
    """Returns the metrics of what was hidden of one kind.

    `token_accuracy`, `word_accuracy` and `value_accuracy` are shares of these; `nats_per_token` and, of words,
    `nats_per_character` are sums of losses over numbers of hidden tokens and characters. Tokens of two vocabularies are
    not the same task, hidden characters are.

    Args:
        hidden: of `HIDDEN`.
        texts: int [rows], which text each row is of.
        correct: bool [rows].
        losses: float [rows], in nats.
        targets: what was hidden.
    """
    ratios = {f"{hidden}_accuracy": ratio(texts, correct, np.ones(len(correct)))}
    if hidden == "token":
        ratios["nats_per_token"] = ratio(texts, losses, np.ones(len(losses)))
    if hidden == "word":
        ratios["nats_per_character"] = ratio(texts, losses, [max(len(target), 1) for target in targets])
    return ratios


def ratio(texts: np.ndarray, values: np.ndarray, counts: np.ndarray | Sequence[float]) -> Ratio:
    """Returns the sum of `values` over that of `counts`, both [rows], by text; `texts`, int [rows], says of which."""
    _, places = np.unique(texts, return_inverse=True)
    sums, weights = (np.bincount(places, np.asarray(column, np.float64)) for column in (values, counts))
    return Ratio(sums / weights, weights)


def pooled_attributes(attributes: Sequence[str]) -> np.ndarray:
    """Returns the attributes, `OTHERS` for all but the `MOST_ATTRIBUTES` most frequent: objects, [rows]."""
    counts = collections.Counter(attributes)
    frequent = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_ATTRIBUTES]
    return np.array([name if name in frequent else OTHERS for name in attributes], object)
