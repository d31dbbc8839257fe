"""Weights of records against a naive computation, and what every set of weights has to be."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from m5jax.data.hard_examples import HardExamples
from m5jax.errors import UserError

LOSSES = st.lists(st.floats(0.01, 20.0), min_size=1, max_size=60)
RULES = st.builds(
    HardExamples,
    drop_easiest=st.floats(0.0, 0.5),
    exponent=st.floats(0.0, 4.0),
    max_weight=st.floats(1.0, 6.0),
    drop_hardest=st.floats(0.0, 0.45),
)


def naive(losses: list[float], rule: HardExamples) -> list[float]:
    """One record at a time; the factor by bisection."""
    easy, hard = (np.ceil(share * len(losses) - 1e-9) for share in (rule.drop_easiest, rule.drop_hardest))
    kept = [
        sum(other < loss for other in losses) >= easy and sum(other > loss for other in losses) >= hard
        for loss in losses
    ]
    values = [loss**rule.exponent for loss, keep in zip(losses, kept, strict=True) if keep]
    low, high = 0.0, 1e9 / min(values, default=1.0)
    for _ in range(300):
        middle = (low + high) / 2
        mean = np.mean([min(middle * value, rule.max_weight) for value in values]) if values else 1.0
        low, high = (middle, high) if mean < 1 else (low, middle)
    return [
        min(high * loss**rule.exponent, rule.max_weight) if keep else 0.0
        for loss, keep in zip(losses, kept, strict=True)
    ]


@given(LOSSES, RULES)
@example([1.0, 16.0, 0.015625], HardExamples(drop_easiest=0.0, exponent=3.0, max_weight=2.0, drop_hardest=0.0))
def test_weights_are_those_of_a_naive_computation(losses: list[float], rule: HardExamples) -> None:
    expected = naive(losses, rule)
    assume(any(expected))
    weights = rule.weights(np.array(losses))
    np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-9)
    kept = weights[weights > 0]
    assert kept.mean() == pytest.approx(1.0)
    assert kept.max() <= rule.max_weight * (1 + 1e-9)
    assert (np.diff(kept[np.argsort(np.array(losses)[weights > 0])]) >= -1e-9).all()


def test_the_easiest_fifth_is_left_out_and_the_rest_grows_with_the_loss() -> None:
    weights = HardExamples(drop_easiest=0.2).weights(np.array([5.0, 1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_allclose(weights, np.array([5, 0, 2, 3, 4]) / 3.5)


def test_the_hardest_are_left_out_as_noise() -> None:
    weights = HardExamples(drop_easiest=0.0, drop_hardest=0.25, exponent=0.0).weights(np.array([1.0, 9.0, 2.0, 3.0]))
    np.testing.assert_allclose(weights, [1, 0, 1, 1])


def test_equal_losses_go_together_and_missing_ones_are_kept() -> None:
    weights = HardExamples(drop_easiest=0.25).weights(np.array([1.0, 1.0, 1.0, np.nan, 2.0, 2.0]))
    np.testing.assert_allclose(weights, [0, 0, 0, 1, 1, 1])


def test_few_losses_above_zero_do_not_leave_the_most() -> None:
    weights = HardExamples(drop_easiest=0.0, max_weight=2.0).weights(np.array([1.0, 0.0, 0.0, 0.0]))
    np.testing.assert_allclose(weights, [2, 2 / 3, 2 / 3, 2 / 3])


def test_no_records_and_records_of_one_loss() -> None:
    assert not len(HardExamples().weights(np.zeros(0)))
    np.testing.assert_array_equal(HardExamples().weights(np.full(3, np.nan)), np.ones(3))
    with pytest.raises(UserError, match=r"keeps none of 3 records: too many have the same loss"):
        HardExamples().weights(np.ones(3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drop_easiest": 1.0}, "drop_easiest = 1.0; allowed: 0 up to, not including, 1"),
        ({"drop_hardest": float("nan")}, "drop_hardest = nan"),
        ({"drop_easiest": 0.6, "drop_hardest": 0.4}, "leave nothing"),
        ({"exponent": -1.0}, "exponent = -1.0; allowed: 0 and above"),
        ({"max_weight": 0.5}, "max_weight = 0.5; allowed: 1 and above"),
    ],
)
def test_impossible_rules_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        HardExamples(**settings)
