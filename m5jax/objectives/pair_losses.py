"""Losses of pairs of embeddings, each a mean over rows: of labelled pairs, or of every left with every right side.

Of a row i, `right[i, 0]` is the other side of its pair, and `right[i, 1:]` are negatives that were mined for it. All
right sides of a batch are candidates of all its rows, but those known to fit a row as its own does.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from m5jax.errors import UserError, check_above_zero, unknown_name
from m5jax.objectives.objective import Sums, binary_cross_entropy, weighted

_FORBIDDEN = -1e9  # the logit of a candidate that is left out
NEGATIVES = ("hardest", "all")
NO_GROUP = -(2**31)  # fills up lists of groups


class Pairs(NamedTuple):
    """Similarities of a batch, and what is known of its pairs.

    Attributes:
      similarities: of each row's pair.
      logits: of the same; times the scale, plus the bias.
      candidates: similarities of each left side with every right one, those of one row after those of the other; None
        where no loss needs them.
      own: which candidate is the other side of the row's pair.
      left_out: candidates that fit the row as its own does, though they are not of its pair.
      among: similarities of all embeddings of pairs, left ones then right ones, with each other; None as above.
      alike: which of these are of one group.
      scale: one over the temperature.
      labels: 0 to 1, how well each pair fits.
      fits: 1 or 0, whether it does.
      weights: of rows; 0: padding.
    """

    similarities: Float[Array, " rows"]
    logits: Float[Array, " rows"]
    candidates: Float[Array, "rows candidates"] | None
    own: Bool[Array, "rows candidates"]
    left_out: Bool[Array, "rows candidates"]
    among: Float[Array, "both both"] | None
    alike: Bool[Array, "both both"]
    scale: Float[Array, ""]
    labels: Float[Array, " rows"]
    fits: Float[Array, " rows"]
    weights: Float[Array, " rows"]


@dataclasses.dataclass(frozen=True)
class PairCrossEntropy:
    """Binary cross-entropy of the logit of each pair with its label.

    Attributes:
      positive_weight: of a pair that fits, where one that does not has 1.
    """

    positive_weight: float = 1.0

    needs_candidates = needs_among = False

    def __post_init__(self) -> None:
        check_above_zero(self, "positive_weight")

    def __call__(self, pairs: Pairs) -> Sums:
        return binary_cross_entropy(pairs.logits, pairs.labels, pairs.weights, self.positive_weight)


@dataclasses.dataclass(frozen=True)
class InBatchContrastive:
    """Cross-entropy of finding a pair's other side among all candidates (InfoNCE, arXiv 1807.03748, equation 4; with
    the other right sides of a batch as negatives, arXiv 1705.00652, section 4.4), of pairs that fit.

    Attributes:
      symmetric: of finding the left side among left ones too (arXiv 2103.00020, figure 3).
    """

    symmetric: bool = True

    needs_candidates, needs_among = True, False

    def __call__(self, pairs: Pairs) -> Sums:
        assert pairs.candidates is not None
        logits = jnp.where(pairs.left_out, _FORBIDDEN, pairs.candidates * pairs.scale)
        losses = _cross_entropy(logits, pairs.own)
        if self.symmetric:
            # Of the candidates, those that are of pairs themselves.
            rows = len(pairs.fits)
            step = logits.shape[1] // rows
            losses = 0.5 * (losses + _cross_entropy(logits[:, ::step].T, pairs.own[:, ::step].T))
        return weighted(losses, pairs.weights * pairs.fits)


@dataclasses.dataclass(frozen=True)
class TripletMargin:
    """How far a pair that fits is from being `margin` more similar than its left side and a negative (arXiv 1503.03832,
    equation 3).

    Attributes:
      margin: between similarities.
      negatives: "hardest" candidate of each row, or the mean over "all".
    """

    margin: float = 0.2
    negatives: str = "hardest"

    needs_candidates, needs_among = True, False

    def __post_init__(self) -> None:
        check_above_zero(self, "margin")
        if self.negatives not in NEGATIVES:
            raise unknown_name("TripletMargin.negatives", self.negatives, NEGATIVES)

    def __call__(self, pairs: Pairs) -> Sums:
        assert pairs.candidates is not None
        negatives = ~(pairs.left_out | pairs.own)
        excess = jax.nn.relu(self.margin - pairs.similarities[:, None] + pairs.candidates) * negatives
        losses = jnp.max(excess, axis=1) if self.negatives == "hardest" else _masked_mean(excess, negatives)
        return weighted(losses, pairs.weights * pairs.fits)


@dataclasses.dataclass(frozen=True)
class ThreePartHinge:
    """Squared distance of similarities from the right side of three thresholds (arXiv 1907.00937, section 3.3).

    A pair that fits (bought) should be above `bought`, one that does not (shown, not bought) below `shown`, and a left
    side with the right side of another pair (random) below `random`.

    Attributes:
      random_weight: of the mean over a row's random pairs, where its own pair has 1.
    """

    bought: float = 0.9
    shown: float = 0.55
    random: float = 0.2
    random_weight: float = 1.0

    needs_candidates, needs_among = True, False

    def __post_init__(self) -> None:
        if not -1 <= self.random <= self.shown <= self.bought <= 1:
            raise UserError(
                f"ThreePartHinge: random {self.random}, shown {self.shown}, bought {self.bought}; allowed: -1 to 1, in "
                "this order"
            )
        check_above_zero(self, "random_weight")

    def __call__(self, pairs: Pairs) -> Sums:
        assert pairs.candidates is not None
        bought = jnp.square(jax.nn.relu(self.bought - pairs.similarities))
        shown = jnp.square(jax.nn.relu(pairs.similarities - self.shown))
        randoms = ~(pairs.left_out | pairs.own)
        random = _masked_mean(jnp.square(jax.nn.relu(pairs.candidates - self.random)), randoms)
        own = pairs.fits * bought + (1.0 - pairs.fits) * shown
        return weighted(own + self.random_weight * random, pairs.weights)


@dataclasses.dataclass(frozen=True)
class SupervisedContrastive:
    """Cross-entropy of finding each of those of an embedding's own group among all others (arXiv 2004.11362, equation
    2), where right sides that fit a left one are of its group, too."""

    needs_candidates, needs_among = False, True

    def __call__(self, pairs: Pairs) -> Sums:
        assert pairs.among is not None
        weights = jnp.tile(pairs.weights, 2)
        others = ~jnp.eye(len(weights), dtype=bool) & (weights > 0)
        logits = jnp.where(others, pairs.among * pairs.scale, _FORBIDDEN)
        log_shares = logits - jax.nn.logsumexp(logits, axis=1, keepdims=True)
        positives = pairs.alike & others
        losses = -_masked_mean(log_shares, positives)
        return weighted(losses, weights * jnp.any(positives, axis=1))


# Each says which similarities it reads beside those of pairs.
PairLoss = PairCrossEntropy | InBatchContrastive | TripletMargin | ThreePartHinge | SupervisedContrastive


def _cross_entropy(logits: Float[Array, "rows candidates"], own: Bool[Array, "rows candidates"]) -> Array:
    return jax.nn.logsumexp(logits, axis=1) - jnp.sum(jnp.where(own, logits, 0.0), axis=1)


def _masked_mean(values: Float[Array, "rows columns"], kept: Bool[Array, "rows columns"]) -> Array:
    return jnp.sum(jnp.where(kept, values, 0.0), axis=1) / jnp.maximum(jnp.sum(kept, axis=1), 1)
