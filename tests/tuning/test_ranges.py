import math

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.tuning.ranges import Choices, Numbers, check_ranges, gin_text, parse_range

finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4..1e-2 log", Numbers("x", 1e-4, 1e-2, log=True)),
        ("-1..1", Numbers("x", -1.0, 1.0)),
        (" 0.5 .. 2 ", Numbers("x", 0.5, 2.0)),
        ("1..6 int", Numbers("x", 1, 6, integer=True)),
        ("1..64 log int", Numbers("x", 1, 64, integer=True, log=True)),
        ("16|32 | 64", Choices("x", ("16", "32", "64"))),
        ("'gelu'|'silu'", Choices("x", ("'gelu'", "'silu'"))),
        ("True|None", Choices("x", ("True", "None"))),
    ],
)
def test_a_range_is_read(text, expected):
    assert parse_range("x", text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no range; allowed: LOW..HIGH, "),
        ("3", "is no range"),
        ("1..", "'' in the range of x is no number"),
        ("1..2..3", "'2..3' in the range of x is no number"),
        ("a..b", "'a' in the range of x is no number"),
        ("0..inf", "'inf' in the range of x is no number"),
        ("1.5..3 int", "'1.5' in the range of x is no integer"),
        ("1..3 ints", "is no range"),
        ("1..3 log log", "is no range"),
        ("3..1", "the range x=3.0..1.0 is empty; allowed: LOW below HIGH"),
        ("1..1", "is empty"),
        ("0..1 log", "begins at 0; allowed with log: LOW above 0"),
        ("8|8", "the choices x=8|8 are not all different"),
        ("8|", "or one is missing"),
    ],
)
def test_what_is_no_range_is_refused_in_one_line(text, message):
    with pytest.raises(UserError) as error:
        parse_range("x", text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@given(finite, finite, st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_a_range_reads_as_it_writes_and_suggests_what_is_in_it(one, other, integer, log, random):
    low, high = sorted((one, other))
    if integer:
        low, high = int(low), int(high)
    if low == high or (log and low <= 0):
        return
    numbers = Numbers("x", low, high, integer, log)
    assert parse_range(*str(numbers).split("=")) == numbers
    sampler = optuna.samplers.RandomSampler(seed=random.randrange(2**32))
    value = numbers.suggest(optuna.create_study(sampler=sampler).ask())
    assert low <= value <= high
    assert type(value) is (int if integer else float)
    assert float(gin_text(value)) == value


def test_choices_are_suggested_as_gin_writes_them():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    choices = Choices("x", ("'a'", "'b'"))
    assert {choices.suggest(study.ask()) for _ in range(20)} == {"'a'", "'b'"}
    assert gin_text("'a'") == "'a'"


def test_orders_of_magnitude_are_equally_likely_with_log():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [Numbers("x", 1e-4, 1.0, log=True).suggest(study.ask()) for _ in range(200)]
    below = sum(math.log10(value) < -2 for value in drawn) / len(drawn)
    assert below == pytest.approx(0.5, abs=0.1)


class TestChecks:
    """`check_ranges` against a configuration of `x`, below 2, and an integer `y`."""

    @staticmethod
    def describe(values):
        for name, text in values.items():
            if name not in ("x", "y", "unused"):
                raise UserError(f"unknown gin name {name!r}")
            if name == "x" and float(text) >= 2:
                raise UserError(f"x = {text}; allowed: below 2")
            if name == "y" and "." in text:
                raise UserError(f"y = {text}; allowed: int")
        return {name: text for name, text in values.items() if name != "unused"}

    def check(self, **texts):
        check_ranges([parse_range(name, text) for name, text in texts.items()], self.describe)

    def test_good_ranges_pass(self):
        self.check(x="0..1", y="1|2|3")

    @pytest.mark.parametrize(
        ("texts", "message"),
        [
            ({"z": "1..2"}, "--range z=1.0..2.0: unknown gin name 'z'"),
            ({"x": "0..3"}, "--range x=0.0..3.0: x = 3.0; allowed: below 2"),
            ({"y": "1..3"}, "--range y=1.0..3.0: y = 1.0; allowed: int"),
            ({"x": "0..1", "y": "1|2|0.5"}, "--range y=1|2|0.5: y = 0.5; allowed: int"),
            ({"unused": "0..1"}, "--range unused=0.0..1.0 has no effect"),
        ],
    )
    def test_what_the_configuration_does_not_take_is_refused(self, texts, message):
        with pytest.raises(UserError, match="--range") as error:
            self.check(**texts)
        assert message in str(error.value)

    def test_what_is_wrong_with_the_command_is_not_said_of_a_range(self):
        def describe(values):
            raise UserError("no such gin file")

        with pytest.raises(UserError, match=r"^no such gin file$"):
            check_ranges([parse_range("x", "0..1")], describe)
