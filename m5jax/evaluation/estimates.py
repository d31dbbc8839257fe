"""Metrics with intervals, and differences between two systems' metrics with intervals and p-values.

Units are resampled: pairs, queries, utterances, labelled examples. A metric function gets the rows of the units that
are drawn and returns values by name; it may raise `UserError`, or leave a name out, where these rows define no value.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from m5jax.errors import UserError
from m5jax.evaluation.metrics.checks import Values, check_lengths, numbers
from m5jax.evaluation.resampling import (
    draw_swaps,
    draw_units,
    means_on,
    percentile_interval,
    permutation_p_value,
    values_on,
)

Metrics: TypeAlias = Callable[[np.ndarray], Mapping[str, float]]

_ROUNDING = 1e-12
_NONE = np.empty(0)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A metric's value on all units.

    Args:
        value: finite.
        low, high: 95% percentile bootstrap interval (Efron & Tibshirani 1993, section 13.3); None where there is none.
        count: of units.

    Raises:
        UserError: a number is not finite, there is half an interval, or there is no unit.
    """

    value: float
    low: float | None
    high: float | None
    count: int

    def __post_init__(self) -> None:
        _check_interval(self.value, self.low, self.high, self.count)


@dataclasses.dataclass(frozen=True)
class Difference:
    """A metric of a second system less that of a first one, on the same units.

    Args:
        value: finite.
        low, high: 95% percentile interval of the paired bootstrap, which draws the same units for both systems; None
            where there is none.
        p_value: two-sided, of the paired permutation test; None where there is none.
        count: of units.

    Raises:
        UserError: as for `Estimate`; or the p-value is not above 0 and up to 1.
    """

    value: float
    low: float | None
    high: float | None
    p_value: float | None
    count: int

    def __post_init__(self) -> None:
        _check_interval(self.value, self.low, self.high, self.count)
        if self.p_value is not None and not 0 < self.p_value <= 1:
            raise UserError(f"a p-value is {self.p_value}; allowed: above 0, up to 1")


def bootstrap(metrics: Metrics, units: int, samples: int = 1000, seed: int = 0) -> dict[str, Estimate]:
    """Returns each metric of all units in order, with its interval.

    Args:
        metrics: from int64 [units], the rows drawn.
        units: how many there are.
        samples: how often as many units are drawn with replacement.
        seed: of the draws.

    Raises:
        UserError: there is no unit or no sample, or `metrics` raises it for all units.
    """
    samples_of_units = draw_units(units, samples, seed)
    values = metrics(np.arange(units))
    return _estimates(values, values_on(samples_of_units, metrics), units, samples)


def bootstrap_means(
    values: Mapping[str, Values], weights: Values | None = None, samples: int = 1000, seed: int = 0
) -> dict[str, Estimate]:
    """Returns what `bootstrap` does of `mean_of`, much sooner.

    Args:
        values, weights, and what is raised: see `mean_of`.
        samples, seed: see `bootstrap`.
    """
    columns, mass = _columns(values, weights)
    units = len(mass)
    drawn = means_on(draw_units(units, samples, seed), columns, mass)
    return _estimates(mean_of(values, weights), drawn, units, samples)


def compare(metrics: Metrics, units: int, samples: int = 1000, seed: int = 0) -> dict[str, Difference]:
    """Returns the differences between two systems' metrics on the same units, of those that both have.

    The p-value is that of approximate randomization (Noreen 1989, "Computer-Intensive Methods for Testing Hypotheses",
    chapter 2). In each sample each unit's two answers are swapped or not, as a coin falls; the p-value is (extreme + 1)
    / (samples + 1), where extreme counts the samples whose difference is at least as large as the measured one,
    whatever its sign. Answers that are swapped must mean the same: take decisions at each system's own threshold
    before, and make scores of different scales ranks or probabilities.

    Args:
        metrics: from int64 [units], rows of the two systems' answers one after the other: of unit i, row i is the first
            system's and row units + i the second's.
        units: how many there are.
        samples: of units drawn with replacement, and as many of swaps.
        seed: of both.

    Raises:
        UserError: there is no unit or no sample, or `metrics` raises it for all units of a system.
    """
    rows = np.arange(units)

    def difference(chosen: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
        return _gains(metrics(chosen[0]), metrics(chosen[1]))

    drawn = values_on(((draw, draw + units) for draw in draw_units(units, samples, seed)), difference)
    flips = (units * swap for swap in draw_swaps(units, samples, seed))
    swapped = values_on(((rows + flip, rows + units - flip) for flip in flips), difference)
    return _differences(metrics(rows), metrics(rows + units), drawn, swapped, units, samples)


def compare_means(
    first: Mapping[str, Values],
    second: Mapping[str, Values],
    weights: Values | None = None,
    samples: int = 1000,
    seed: int = 0,
) -> dict[str, Difference]:
    """Returns what `compare` does of `mean_of`, much sooner.

    Args:
        first, second: the systems' values by metric, [units].
        weights: of units, the same for both.
        samples, seed: see `compare`.

    Raises:
        UserError: as for `mean_of`; or the systems have different metrics.
    """
    one, mass = _columns(first, weights)
    other, _ = _columns(second, mass)
    if one.keys() != other.keys():
        raise UserError(f"one system has the metrics {', '.join(one)}, the other {', '.join(other)}; needed: the same")
    units = len(mass)
    gained = {name: other[name] - one[name] for name in one}
    drawn = means_on(draw_units(units, samples, seed), gained, mass)
    parts = np.stack([mass * gain / mass.sum() for gain in gained.values()], axis=1)
    sums = np.array([np.where(swap, -1.0, 1.0) @ parts for swap in draw_swaps(units, samples, seed)])
    swapped = dict(zip(gained, sums.T, strict=True))
    return _differences(mean_of(one, mass), mean_of(other, mass), drawn, swapped, units, samples)


def mean_of(values: Mapping[str, Values], weights: Values | None = None) -> dict[str, float]:
    """Returns the mean of each metric over units.

    Args:
        values: by metric, [units].
        weights: of units, [units], as how often a query is asked; all alike where None.

    Raises:
        UserError: there is no metric or no unit, lengths differ, a number is not finite, a weight is negative or all
            are 0.
    """
    columns, mass = _columns(values, weights)
    return {name: float(mass @ column / mass.sum()) for name, column in columns.items()}


def _columns(values: Mapping[str, Values], weights: Values | None) -> tuple[dict[str, np.ndarray], np.ndarray]:
    columns = {name: numbers(name, column) for name, column in values.items()}
    if not columns:
        raise UserError("there is no metric to take the mean of; needed: at least one")
    mass = np.ones(len(next(iter(columns.values())))) if weights is None else numbers("weights", weights)
    for name, column in columns.items():
        check_lengths(**{name: column, "weights": mass})
    if mass.min() < 0 or not mass.any():
        raise UserError(f"weights go from {mass.min():g} to {mass.max():g}; allowed: 0 and above, at least one above 0")
    return columns, mass


def _gains(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    return {name: float(second[name] - value) for name, value in first.items() if name in second}


def _estimates(
    values: Mapping[str, float], drawn: Mapping[str, np.ndarray], units: int, samples: int
) -> dict[str, Estimate]:
    found = {}
    for name, value in values.items():
        low, high = percentile_interval(drawn.get(name, _NONE), units, samples)
        found[name] = Estimate(float(value), low, high, units)
    return found


def _differences(
    first: Mapping[str, float],
    second: Mapping[str, float],
    drawn: Mapping[str, np.ndarray],
    swapped: Mapping[str, np.ndarray],
    units: int,
    samples: int,
) -> dict[str, Difference]:
    found = {}
    for name, value in _gains(first, second).items():
        # The same numbers summed in another order differ in their last digits.
        least = abs(value) - _ROUNDING * (abs(first[name]) + abs(second[name]))
        p_value = permutation_p_value(np.abs(swapped.get(name, _NONE)) >= least, samples)
        low, high = percentile_interval(drawn.get(name, _NONE), units, samples)
        found[name] = Difference(value, low, high, p_value, units)
    return found


def _check_interval(value: float, low: float | None, high: float | None, count: int) -> None:
    if not math.isfinite(value):
        raise UserError(f"a metric's value is {value}; allowed: finite numbers")
    if (low is None) != (high is None):
        raise UserError(f"an interval goes from {low} to {high}; allowed: two numbers, or None twice")
    if low is not None and high is not None and not -math.inf < low <= high < math.inf:
        raise UserError(f"an interval goes from {low} to {high}; allowed: finite numbers in order")
    if count < 1:
        raise UserError(f"a metric is of {count} units; allowed: 1 and above")
