"""The sampling rates."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.mixing import mixing_rates
from m5jax.errors import UserError

counts = st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 10**12), min_size=1, max_size=8)


@given(counts, st.floats(0.0, 3.0))
def test_rates_are_the_powers_of_the_counts_normalized(counts: dict[str, int], alpha: float) -> None:
    rates = mixing_rates(counts, alpha)
    total = sum(float(count) ** alpha for count in counts.values())
    assert list(rates) == list(counts)
    for name, count in counts.items():
        assert rates[name] == pytest.approx(float(count) ** alpha / total, rel=1e-9)
    assert math.fsum(rates.values()) == pytest.approx(1.0)


def test_the_ends_of_alpha() -> None:
    assert mixing_rates({"en": 90, "de": 10}, 0.0) == {"en": 0.5, "de": 0.5}
    assert mixing_rates({"en": 90, "de": 10}, 1.0) == pytest.approx({"en": 0.9, "de": 0.1})


@pytest.mark.parametrize("alpha", [-0.1, math.nan, math.inf])
def test_a_wrong_alpha_is_refused(alpha: float) -> None:
    with pytest.raises(UserError, match="alpha"):
        mixing_rates({"en": 1}, alpha)


@pytest.mark.parametrize(("counts", "message"), [({}, "empty mixture"), ({"en": 3, "fr": 0}, "fr has no examples")])
def test_nothing_to_sample_from_is_refused(counts: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mixing_rates(counts, 0.5)
