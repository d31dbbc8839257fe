"""How often each language or task is sampled, from how much data it has.

Vocabulary training and model training use the same rule, p_i proportional to n_i**alpha; their default exponents differ
(0.3 for the vocabulary, 0.5 for the steps), since every language needs pieces before it can have steps.
"""

import dataclasses
import math
from collections.abc import Mapping

from m5jax.errors import UserError, unknown_name

DEFAULT_ALPHA = 0.5
UNITS = ("examples", "bytes", "tokens")


@dataclasses.dataclass(frozen=True)
class Proportional:
    """p_i proportional to min(n_i, cap)**alpha.

    alpha = 1 samples texts as they come, alpha = 0 every language alike; values between lift small languages (Conneau
    and Lample, arXiv 1901.07291, section 3.1; mT5, arXiv 2010.11934, section 3.2, uses 0.3). 1 / alpha is what T5 calls
    the temperature, and `cap` its artificial limit (arXiv 1910.10683, section 3.5.2).

    Attributes:
        alpha: exponent, 0 to 1.
        cap: the most that a member counts for; 0: no limit.
        unit: what n_i counts: "examples", UTF-8 "bytes" of the records, or "tokens" of the run's vocabulary.
    """

    alpha: float = DEFAULT_ALPHA
    cap: int = 0
    unit: str = "examples"

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 1.0:
            raise UserError(f"Proportional.alpha = {self.alpha}; allowed: 0 to 1")
        if self.cap < 0:
            raise UserError(f"Proportional.cap = {self.cap}; allowed: 0 (no limit) and above")
        _check_unit(self.unit)

    def rates(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Returns p_i of each name, in the order of `counts`; they sum to 1. Raises UserError as `mixing_rates`."""
        return mixing_rates({name: min(n, self.cap) if self.cap else n for name, n in counts.items()}, self.alpha)

    def __str__(self) -> str:
        counted = f"min(n_i, {self.cap})" if self.cap else "n_i"
        return f"p_i proportional to {counted}**{self.alpha:g}, n_i in {self.unit}"


@dataclasses.dataclass(frozen=True)
class UniMax:
    """Every member alike, but none for more than so many epochs (UniMax, arXiv 2304.09151, algorithm 1).

    Attributes:
        budget: of the whole training, in the unit.
        max_epochs: the most often that a member's data is repeated.
        unit: "examples", UTF-8 "bytes" of the records, or "tokens" of the run's vocabulary.
    """

    budget: int
    max_epochs: float = 5.0
    unit: str = "bytes"

    def __post_init__(self) -> None:
        if self.budget < 1 or not self.max_epochs > 0.0:
            raise UserError(f"UniMax: budget = {self.budget} must be 1 or more, max_epochs = {self.max_epochs} above 0")
        _check_unit(self.unit)

    def rates(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Returns p_i of each name, in the order of `counts`; they sum to 1. Raises UserError as `mixing_rates`."""
        _check_counts(counts)
        left, shares = float(self.budget), {}
        smallest_first = sorted(counts, key=lambda name: counts[name])
        for index, name in enumerate(smallest_first):
            shares[name] = min(left / (len(counts) - index), self.max_epochs * counts[name])
            left -= shares[name]
        total = math.fsum(shares.values())
        return {name: shares[name] / total for name in counts}

    def __str__(self) -> str:
        return f"alike, up to {self.max_epochs:g} epochs of {self.budget:,} {self.unit} in all"


MixingRule = Proportional | UniMax


def mixing_rates(counts: Mapping[str, int], alpha: float = DEFAULT_ALPHA) -> dict[str, float]:
    """Returns p_i = n_i**alpha / sum_j n_j**alpha for each name, in the order of `counts`; the rates sum to 1.

    Raises:
        UserError: alpha is negative or not finite, `counts` is empty, or a name has no examples.
    """
    if not (math.isfinite(alpha) and alpha >= 0.0):
        raise UserError(f"the mixing exponent alpha is {alpha}, allowed: a number from 0 (uniform) up")
    _check_counts(counts)
    largest = max(counts.values())
    # Relative to the largest count, so that no power overflows.
    return normalized({name: (count / largest) ** alpha for name, count in counts.items()})


def normalized(weights: Mapping[str, float]) -> dict[str, float]:
    """Returns the weights divided by their sum; raises UserError where one is negative or not finite, or all are 0."""
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0.0):
            raise UserError(f"the sampling rate of {name} is {weight}, allowed: 0 and above")
    total = math.fsum(weights.values())
    if not total:
        raise UserError(f"the sampling rates of {', '.join(weights)} are all 0")
    return {name: weight / total for name, weight in weights.items()}


def _check_counts(counts: Mapping[str, int]) -> None:
    empty = [name for name, count in counts.items() if count <= 0]
    if empty or not counts:
        raise UserError(f"nothing to sample from: {', '.join(empty) or 'an empty mixture'} has no examples")


def _check_unit(unit: str) -> None:
    if unit not in UNITS:
        raise unknown_name("unit of mixing", unit, UNITS)
