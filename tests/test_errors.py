"""Fields of settings that are not as they must be."""

import dataclasses
import math

import pytest

from m5jax.errors import UserError, check_above_zero, check_below_one, check_least


@dataclasses.dataclass(frozen=True)
class Settings:
    value: float | None


CHECKS = {
    "1 and above": (lambda settings: check_least(settings, value=1), (1, 7, math.inf, None), (0, 0.999, -1, math.nan)),
    "above 0": (lambda settings: check_above_zero(settings, "value"), (1, 1e-300), (0, -1.0, math.inf, math.nan)),
    "0 up to, not including, 1": (
        lambda settings: check_below_one(settings, "value"),
        (0, 0.999),
        (1, 1.0, -1e-300, math.nan),
    ),
}


@pytest.mark.parametrize("allowed", CHECKS)
def test_a_field_is_refused_unless_it_is_what_is_allowed(allowed: str) -> None:
    check, right, wrong = CHECKS[allowed]
    for value in right:
        check(Settings(value))
    for value in wrong:
        with pytest.raises(UserError) as raised:
            check(Settings(value))
        assert str(raised.value) == f"Settings.value = {value}; allowed: {allowed}"
