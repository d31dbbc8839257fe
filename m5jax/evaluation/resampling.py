"""Units drawn anew or swapped between systems, and what a metric's values on such samples say.

A sample on which a metric is not defined, as without a positive, is left out. Where more are than an interval cuts off,
there is no interval and no p-value: the rest would speak for other data than was measured.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np

from m5jax.errors import UserError

_CUT_OFF = 0.05

Sample = TypeVar("Sample")


def draw_units(units: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Returns, for each sample, int64 [units]: as many drawn with replacement.

    Raises:
        UserError: there is no unit or no sample.
    """
    _check_counts(units, samples)
    generator = np.random.default_rng(seed)
    return (generator.integers(0, units, units) for _ in range(samples))


def draw_swaps(units: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Returns, for each sample, bool [units]: whether two systems' answers are swapped.

    Raises:
        UserError: there is no unit or no sample.
    """
    _check_counts(units, samples)
    generator = np.random.default_rng(seed)
    return (generator.integers(0, 2, units, dtype=np.bool_) for _ in range(samples))


def values_on(samples: Iterable[Sample], metrics: Callable[[Sample], Mapping[str, float]]) -> dict[str, np.ndarray]:
    """Returns each metric, float64 [samples on which it is defined]."""
    found: dict[str, list[float]] = {}
    for sample in samples:
        try:
            values = metrics(sample)
        except UserError:
            continue
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return {name: np.array(values, np.float64) for name, values in found.items()}


def means_on(
    samples: Iterable[np.ndarray], columns: Mapping[str, np.ndarray], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the weighted means of float64 [units] by metric, float64 [samples whose weight is not 0]."""
    parts = np.stack([*(weights * column for column in columns.values()), weights], axis=1)
    # How often each unit is drawn, times all metrics at once, instead of gathering each metric's values.
    sums = np.array([np.bincount(rows, minlength=len(weights)) @ parts for rows in samples])
    defined = sums[sums[:, -1] > 0]
    return {name: defined[:, index] / defined[:, -1] for index, name in enumerate(columns)}


def percentile_interval(values: np.ndarray, units: int, samples: int) -> tuple[float, float] | tuple[None, None]:
    """Returns where the middle 95% of a metric's values on samples lie; None where there is no interval."""
    if units < 2 or not _are_enough(values, samples):
        return None, None
    low, high = np.quantile(values, [_CUT_OFF / 2, 1 - _CUT_OFF / 2])
    return float(low), float(high)


def permutation_p_value(extreme: np.ndarray, samples: int) -> float | None:
    """Returns (extreme + 1) / (samples + 1) of bool [samples where the metric is defined]; None where too few are."""
    return float((extreme.sum() + 1) / (len(extreme) + 1)) if _are_enough(extreme, samples) else None


def _are_enough(values: np.ndarray, samples: int) -> bool:
    return len(values) >= (1 - _CUT_OFF) * samples


def _check_counts(units: int, samples: int) -> None:
    if units < 1 or samples < 1:
        raise UserError(f"{samples} samples of {units} units tell nothing; needed: at least one of each")
