"""Samples of units, and what is read off them."""

import numpy as np
import pytest

from m5jax.errors import UserError
from m5jax.evaluation.resampling import (
    draw_swaps,
    draw_units,
    means_on,
    percentile_interval,
    permutation_p_value,
    values_on,
)


def test_units_and_swaps_are_drawn_evenly() -> None:
    rows = np.concatenate(list(draw_units(10, 2000, seed=0)))
    # 2,000 expected, standard deviation 42.
    assert np.abs(np.bincount(rows, minlength=10) - 2000).max() < 5 * 42
    swaps = np.stack(list(draw_swaps(10, 2000, seed=0)))
    assert swaps.shape == (2000, 10)
    # 1,000 expected, standard deviation 22.
    assert np.abs(swaps.sum(axis=0) - 1000).max() < 5 * 22


def test_values_of_undefined_samples_are_left_out() -> None:
    def metrics(sample: int) -> dict[str, float]:
        if sample == 2:
            raise UserError("undefined")
        return {"always": sample, "odd": 1.0} if sample % 2 else {"always": sample}

    found = values_on(range(5), metrics)
    assert {name: values.tolist() for name, values in found.items()} == {"always": [0, 1, 3, 4], "odd": [1, 1]}


def test_means_are_of_the_rows_drawn() -> None:
    values, weights = np.array([1.0, 2.0, 5.0]), np.array([1.0, 0.0, 3.0])
    drawn = [np.array([0, 0, 2]), np.array([1, 1, 1]), np.array([2, 1, 0])]
    found = means_on(drawn, {"m": values}, weights)["m"]
    np.testing.assert_allclose(found, [np.average(values[rows], weights=weights[rows]) for rows in drawn[::2]])


def test_intervals_and_p_values_need_nearly_all_samples() -> None:
    assert percentile_interval(np.arange(101.0), units=5, samples=101) == (2.5, 97.5)
    assert percentile_interval(np.arange(95.0), units=5, samples=100) == pytest.approx((2.35, 91.65))
    assert percentile_interval(np.arange(94.0), units=5, samples=100) == (None, None)
    assert percentile_interval(np.arange(100.0), units=1, samples=100) == (None, None)
    assert permutation_p_value(np.arange(99) < 4, samples=99) == 0.05
    assert permutation_p_value(np.arange(94) < 4, samples=100) is None
