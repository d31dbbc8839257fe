"""Losses of pairs, one candidate after the other, as their sources define them."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st

from m5jax.objectives.pair_losses import NO_GROUP


@dataclasses.dataclass(frozen=True)
class Known:
    """What is known of a batch: groups [rows] and [rows, right], and labels, fits and weights [rows].

    Attributes:
      elsewhere: left and right groups of pairs of other batches that fit.
    """

    left_groups: np.ndarray
    right_groups: np.ndarray
    labels: np.ndarray
    fits: np.ndarray
    weights: np.ndarray
    elsewhere: tuple[tuple[int, int], ...] = ()

    @property
    def rows(self) -> range:
        return range(len(self.fits))

    @property
    def batch(self) -> dict[str, np.ndarray]:
        names = ("left_groups", "right_groups", "labels", "fits", "weights")
        fitting = [sorted(self._fitting(row)) for row in self.rows]
        groups = np.full((len(fitting), 24), NO_GROUP, np.int32)
        for row, own in enumerate(fitting):
            groups[row, : len(own)] = own
        return {name: getattr(self, name) for name in names} | {"fitting_groups": groups}

    def _fitting(self, row: int) -> set[int]:
        """Returns the groups of right sides that fit the left side of a row."""
        left = self.left_groups[row]
        own = {
            int(self.right_groups[other][0])
            for other in self.rows
            if self.fits[other] and self.left_groups[other] == left
        }
        return own | {other for group, other in self.elsewhere if group == left}

    def fits_left(self, row: int, group: int) -> bool:
        """Whether right sides of a group fit the left side of a row, for all that is known."""
        return group == self.left_groups[row] or group in self._fitting(row)

    def is_negative(self, row: int, other: int, place: int) -> bool:
        """Whether a right side of another row, or one mined for this one, is a negative of a row."""
        if (row, 0) == (other, place) or self.weights[row] <= 0 or self.weights[other] <= 0:
            return False
        return not self.fits_left(row, int(self.right_groups[other][place]))

    def negatives(self, row: int) -> Iterator[tuple[int, int]]:
        """Yields row and place of each."""
        for other in self.rows:
            for place in range(self.right_groups.shape[1]):
                if self.is_negative(row, other, place):
                    yield other, place

    def are_alike(self, first: int, second: int) -> bool:
        """Whether two of all sides, left ones then right ones, are of one group."""
        rows = len(self.fits)
        if first >= rows and second < rows:
            first, second = second, first
        if second < rows:
            return bool(self.left_groups[first] == self.left_groups[second])
        if first >= rows:
            return bool(self.right_groups[first - rows][0] == self.right_groups[second - rows][0])
        return self.fits_left(first, int(self.right_groups[second - rows][0]))


@st.composite
def known_batches(draw: Any) -> Known:
    """Few groups, so that many are alike; some groups have left and right sides."""
    rows, right = draw(st.sampled_from([(1, 1), (6, 1), (6, 3)]))  # few shapes: each is compiled
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = draw(st.sampled_from([2, 4, 30]))
    labels = random.choice([0.0, 0.25, 0.5, 1.0], rows).astype(np.float32)
    return Known(
        random.integers(0, groups, rows, dtype=np.int32),
        random.integers(groups // 2, 2 * groups, (rows, right), dtype=np.int32),
        labels,
        (labels >= 0.5).astype(np.float32),
        random.choice([0.0, 0.5, 1.0, 3.0], rows).astype(np.float32),
        tuple((int(random.integers(groups)), int(random.integers(2 * groups))) for _ in range(rows)),
    )


def weighted_mean(values: list[float], weights: list[float]) -> tuple[float, float]:
    """Returns the sum of values by their weights, and that of the weights."""
    return sum(v * w for v, w in zip(values, weights, strict=True)), float(sum(weights))


def pair_cross_entropy(known: Known, logits: np.ndarray, positive_weight: float) -> tuple[float, float]:
    losses, weights = [], []
    for row in known.rows:
        label, share = float(known.labels[row]), 1 / (1 + math.exp(-float(logits[row])))
        losses.append(-label * math.log(share) - (1 - label) * math.log(1 - share))
        weights.append(float(known.weights[row]) * (label * positive_weight + 1 - label))
    return weighted_mean(losses, weights)


def softmax_loss(own: float, others: list[float]) -> float:
    """Returns the cross-entropy of finding the first among all."""
    largest = max([own, *others])
    return math.log(sum(math.exp(x - largest) for x in [own, *others])) + largest - own


def in_batch_contrastive(
    known: Known, similarity: Callable[[int, int, int], float], scale: float, symmetric: bool
) -> tuple[float, float]:
    """`similarity` is that of the left side of a row with the right one of another, at a place."""
    losses, weights = [], []
    for row in known.rows:
        own = scale * similarity(row, row, 0)
        loss = softmax_loss(own, [scale * similarity(row, *negative) for negative in known.negatives(row)])
        if symmetric:
            lefts = [scale * similarity(other, row, 0) for other in known.rows if known.is_negative(other, row, 0)]
            loss = (loss + softmax_loss(own, lefts)) / 2
        losses.append(loss)
        weights.append(float(known.weights[row] * known.fits[row]))
    return weighted_mean(losses, weights)


def triplet_margin(
    known: Known, similarity: Callable[[int, int, int], float], margin: float, hardest: bool
) -> tuple[float, float]:
    losses, weights = [], []
    for row in known.rows:
        own = similarity(row, row, 0)
        each = [max(0.0, margin - own + similarity(row, *negative)) for negative in known.negatives(row)]
        losses.append((max(each) if hardest else sum(each) / len(each)) if each else 0.0)
        weights.append(float(known.weights[row] * known.fits[row]))
    return weighted_mean(losses, weights)


def three_part_hinge(known: Known, similarity: Callable[[int, int, int], float], loss: Any) -> tuple[float, float]:
    losses = []
    for row in known.rows:
        own = similarity(row, row, 0)
        value = max(0.0, loss.bought - own) ** 2 if known.fits[row] else max(0.0, own - loss.shown) ** 2
        each = [max(0.0, similarity(row, *negative) - loss.random) ** 2 for negative in known.negatives(row)]
        losses.append(value + (loss.random_weight * sum(each) / len(each) if each else 0.0))
    return weighted_mean(losses, [float(weight) for weight in known.weights])


def supervised_contrastive(known: Known, among: np.ndarray, scale: float) -> tuple[float, float]:
    losses, weights = [], []
    both = len(among)
    of_side = [float(known.weights[side % len(known.fits)]) for side in range(both)]
    for anchor in range(both):
        others = [side for side in range(both) if side != anchor and of_side[side] > 0]
        positives = [side for side in others if known.are_alike(anchor, side)]
        if not positives:
            continue
        total = sum(math.exp(scale * among[anchor, side]) for side in others)
        shares = [math.log(math.exp(scale * among[anchor, side]) / total) for side in positives]
        losses.append(-sum(shares) / len(positives))
        weights.append(of_side[anchor])
    return weighted_mean(losses, weights)
