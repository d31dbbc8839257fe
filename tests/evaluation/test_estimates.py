"""Intervals and p-values, against SciPy, exact enumeration, and resampling written out."""

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from m5jax.errors import UserError
from m5jax.evaluation.estimates import (
    Difference,
    Estimate,
    bootstrap,
    bootstrap_means,
    compare,
    compare_means,
    mean_of,
)

GENERATOR = np.random.default_rng(0)
VALUES = {"one": GENERATOR.random(200), "two": GENERATOR.normal(3, 2, 200)}
OTHERS = {name: values + GENERATOR.normal(0.02, 0.1, 200) for name, values in VALUES.items()}
WEIGHTS = GENERATOR.integers(0, 9, 200)


def close(value: float | None) -> object:
    return pytest.approx(value, rel=1e-12, abs=1e-12)


def means(rows: np.ndarray) -> dict[str, float]:
    return {name: float(values[rows].mean()) for name, values in VALUES.items()}


def stacked(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([first[name], second[name]]) for name in first}


def test_intervals_are_the_percentiles_of_samples_written_out() -> None:
    generator = np.random.default_rng(7)
    drawn = [means(generator.integers(0, 200, 200)) for _ in range(300)]
    found = bootstrap(means, 200, samples=300, seed=7)
    for name, estimate in found.items():
        low, high = np.quantile([values[name] for values in drawn], [0.025, 0.975])
        assert estimate == Estimate(VALUES[name].mean(), low, high, 200)


def test_an_interval_is_near_that_of_scipy() -> None:
    data = VALUES["two"]
    expected = stats.bootstrap((data,), np.mean, n_resamples=9999, method="percentile", rng=1).confidence_interval
    found = bootstrap_means({"two": data}, samples=9999)["two"]
    # Three standard deviations of the difference of two such quantiles, of normal values.
    length = expected.high - expected.low
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.03 * length)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_means_are_estimated_as_by_any_metric(weights: np.ndarray | None) -> None:
    def slow(rows: np.ndarray) -> dict[str, float]:
        return mean_of(
            {name: values[rows] for name, values in VALUES.items()}, None if weights is None else weights[rows]
        )

    expected = bootstrap(slow, 200, samples=100, seed=3)
    found = bootstrap_means(VALUES, weights, samples=100, seed=3)
    assert found.keys() == expected.keys()
    for name, estimate in expected.items():
        assert found[name].value == close(np.average(VALUES[name], weights=weights))
        assert found[name].value == close(estimate.value)
        assert (found[name].low, found[name].high) == (close(estimate.low), close(estimate.high))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_means_are_compared_as_by_any_metric(weights: np.ndarray | None) -> None:
    both = stacked(VALUES, OTHERS)
    mass = None if weights is None else np.tile(weights, 2)

    def slow(rows: np.ndarray) -> dict[str, float]:
        return mean_of({name: values[rows] for name, values in both.items()}, None if mass is None else mass[rows])

    expected = compare(slow, 200, samples=200, seed=5)
    found = compare_means(VALUES, OTHERS, weights, samples=200, seed=5)
    assert found.keys() == expected.keys()
    for name, difference in expected.items():
        average = [np.average(values[name], weights=weights) for values in (VALUES, OTHERS)]
        assert found[name].value == close(average[1] - average[0])
        assert (found[name].low, found[name].high) == (close(difference.low), close(difference.high))
        assert (found[name].value, found[name].p_value) == (close(difference.value), close(difference.p_value))


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.1, 0.5, 1.0]), min_size=1, max_size=7), st.booleans())
def test_a_p_value_is_near_that_of_all_swaps(gained: list[float], slow: bool) -> None:
    gains = np.array(gained)
    sums = np.array([np.dot(signs, gains) for signs in itertools.product([-1, 1], repeat=len(gains))])
    exact = np.mean(np.abs(sums) >= abs(gains.sum()) - 1e-9)
    first, second = {"m": np.full(len(gains), 0.3)}, {"m": 0.3 + gains}
    both = stacked(first, second)["m"]
    samples = 400
    if slow:
        found = compare(lambda rows: {"m": float(both[rows].mean())}, len(gains), samples)["m"]
    else:
        found = compare_means(first, second, samples=samples)["m"]
    assert found.p_value is not None
    # Five standard deviations of a share of the samples; ties that rounding breaks would be much further off.
    assert found.p_value == pytest.approx(exact, abs=5 * np.sqrt(exact * (1 - exact) / samples) + 1 / samples)


def test_equal_systems_do_not_differ_and_the_smallest_p_value_is_one_in_all_samples() -> None:
    assert compare_means(VALUES, VALUES)["one"] == Difference(0.0, 0.0, 0.0, 1.0, 200)
    better = {name: values + 1 for name, values in VALUES.items()}
    found = compare_means(VALUES, better, samples=99)["two"]
    assert found.p_value == 1 / 100
    assert (found.low, found.value, found.high) == (close(1), close(1), close(1))
    back = compare_means(better, VALUES, samples=99)["two"]
    assert (back.value, back.p_value) == (-found.value, found.p_value)


def test_systems_without_a_difference_rarely_seem_to_have_one() -> None:
    generator = np.random.default_rng(11)
    p_values = []
    for seed in range(200):
        first, second = ({"m": generator.random(20)} for _ in range(2))
        p_values.append(compare_means(first, second, samples=99, seed=seed)["m"].p_value)
    # Uniform under the null hypothesis: Kolmogorov-Smirnov.
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_the_same_seed_draws_the_same() -> None:
    assert bootstrap_means(VALUES, seed=4) == bootstrap_means(VALUES, seed=4)
    assert bootstrap_means(VALUES, seed=4) != bootstrap_means(VALUES, seed=5)


def positives_only(labels: np.ndarray) -> object:
    def metrics(rows: np.ndarray) -> dict[str, float]:
        values = {"share": float(labels[rows].mean())}
        return values | {"shown": 1.0} if labels[rows].any() else values

    return metrics


def test_there_is_no_interval_where_too_many_samples_define_no_value() -> None:
    often = bootstrap(positives_only(np.arange(100) < 50), 100)  # type: ignore[arg-type]
    assert often["shown"] == Estimate(1.0, 1.0, 1.0, 100)
    # A third of the samples draw no positive.
    rare = bootstrap(positives_only(np.arange(100) < 1), 100)  # type: ignore[arg-type]
    assert rare["shown"] == Estimate(1.0, None, None, 100)
    assert rare["share"].low == 0

    def refused(rows: np.ndarray) -> dict[str, float]:
        if not (rows == 0).any():
            raise UserError("no positive")
        return {"m": 1.0}

    assert bootstrap(refused, 100) == {"m": Estimate(1.0, None, None, 100)}
    weights = np.arange(100) < 1
    found = bootstrap_means({"m": np.ones(100)}, weights)
    assert found == {"m": Estimate(1.0, None, None, 100)}
    assert compare_means({"m": np.ones(100)}, {"m": np.zeros(100)}, weights)["m"].low is None


def test_one_unit_has_no_interval() -> None:
    assert bootstrap_means({"m": [0.5]}) == {"m": Estimate(0.5, None, None, 1)}


def test_what_is_undefined_on_all_units_is_refused() -> None:
    def refused(rows: np.ndarray) -> dict[str, float]:
        raise UserError("0 of 5 labels are positive")

    with pytest.raises(UserError, match="0 of 5 labels are positive"):
        bootstrap(refused, 5)
    with pytest.raises(UserError, match="0 of 5 labels are positive"):
        compare(refused, 5)
    with pytest.raises(UserError, match="a metric's value is nan"):
        bootstrap(lambda rows: {"m": float("nan")}, 5)


@pytest.mark.parametrize(
    ("values", "weights", "message"),
    [
        ({}, None, "there is no metric to take the mean of"),
        ({"m": []}, None, r"m are of shape \[0\]"),
        ({"m": [1, np.nan]}, None, "m of row 1 is nan"),
        ({"m": [1, 2], "n": [1]}, None, "n 1, weights 2"),
        ({"m": [1, 2]}, [1], "m 2, weights 1"),
        ({"m": [1, 2]}, [1, -1], "weights go from -1 to 1; allowed: 0 and above"),
        ({"m": [1, 2]}, [0, 0], "weights go from 0 to 0"),
    ],
)
def test_values_without_a_mean_are_refused(values: dict, weights: list | None, message: str) -> None:
    for function in (mean_of, bootstrap_means, lambda *both: compare_means(both[0], *both)):
        with pytest.raises(UserError, match=message):
            function(values, weights)


def test_other_systems_and_counts_are_refused() -> None:
    with pytest.raises(UserError, match="one system has the metrics m, the other n; needed: the same"):
        compare_means({"m": [1]}, {"n": [1]})
    with pytest.raises(UserError, match="m 3, weights 2"):
        compare_means({"m": [1, 2]}, {"m": [1, 2, 3]})
    for units, samples in ((0, 10), (10, 0)):
        with pytest.raises(UserError, match=f"{samples} samples of {units} units tell nothing"):
            bootstrap(lambda rows: {"m": 1.0}, units, samples)
        with pytest.raises(UserError, match=f"{samples} samples of {units} units tell nothing"):
            compare(lambda rows: {"m": 1.0}, units, samples)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((float("inf"), None, None, 1), "a metric's value is inf"),
        ((0.5, 0.4, None, 1), "an interval goes from 0.4 to None"),
        ((0.5, 0.6, 0.4, 1), "an interval goes from 0.6 to 0.4"),
        ((0.5, float("nan"), 0.4, 1), "an interval goes from nan to 0.4"),
        ((0.5, None, None, 0), "a metric is of 0 units"),
    ],
)
def test_estimates_hold_finite_numbers(arguments: tuple, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Estimate(*arguments)
    with pytest.raises(UserError, match=message):
        Difference(*arguments[:3], 0.5, arguments[3])
    with pytest.raises(UserError, match="a p-value is 0; allowed: above 0"):
        Difference(0.5, None, None, 0, 1)
