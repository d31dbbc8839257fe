"""Units that two systems answered, whatever the order of their rows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.evaluation.matching import match
from m5jax.evaluation.predictions import Predictions, make_predictions
from tests.evaluation.evaluation_examples import COLUMNS_OF

UNITS = st.lists(st.tuples(st.sampled_from(["de", "en"]), st.integers(0, 12)), min_size=1, max_size=20, unique=True)


def texts_of(units: list[tuple[str, int]], answer: str) -> Predictions:
    columns: dict[str, Any] = {
        "unit": [f"u{number}" for _, number in units],
        "group": [group for group, _ in units],
        "target": [f"{group} {number}" for group, number in units],
        "predicted": [f"{answer} {group} {number}" for group, number in units],
    }
    return make_predictions("text", "f", columns)


@given(first=UNITS, second=UNITS)
def test_common_units_stand_beside_each_other_and_others_are_counted(
    first: list[tuple[str, int]], second: list[tuple[str, int]]
) -> None:
    common = set(first) & set(second)
    if not common:
        with pytest.raises(UserError, match="no unit in common"):
            match(texts_of(first, "a"), texts_of(second, "b"))
        return
    found = match(texts_of(first, "a"), texts_of(second, "b"))
    assert (found.only_first, found.only_second) == (len(set(first) - common), len(set(second) - common))
    targets = list(found.first.column("target"))
    assert set(targets) == {f"{group} {number}" for group, number in common}
    assert list(found.second.column("target")) == targets
    assert [target.split()[0] for target in targets] == list(found.groups) == sorted(found.groups)
    assert list(found.first.column("predicted")) == [f"a {target}" for target in targets]
    assert list(found.second.column("predicted")) == [f"b {target}" for target in targets]
    for answers in (found.first, found.second):
        np.testing.assert_array_equal(answers.units, np.arange(len(common)))


def test_the_order_of_rows_does_not_matter() -> None:
    units = [("en", 3), ("de", 1), ("en", 2)]
    one, other = (match(texts_of(order, "a"), texts_of(units, "b")) for order in (units, units[::-1]))
    assert one.first.table == other.first.table
    assert list(one.groups) == list(other.groups) == ["de", "en", "en"]


def test_chosen_units_are_counted_anew() -> None:
    answers = match(texts_of([("en", number) for number in range(5)], "a"), texts_of([("en", 3), ("en", 1)], "b")).first
    assert list(answers.of(np.array([1])).column("target")) == ["en 3"]
    np.testing.assert_array_equal(answers.of(np.array([1])).units, [0])


def test_queries_are_units_of_several_rows() -> None:
    columns = COLUMNS_OF["search"]
    left = {name: [values[row] for row in (3, 0, 2)] for name, values in columns.items()} | {"rank": [None, 1, 1]}
    found = match(make_predictions("search", "f", columns), make_predictions("search", "f", left))
    assert list(found.groups) == ["en", "en"]
    np.testing.assert_array_equal(found.first.units, [0, 0, 1, 1])
    assert list(found.first.column("query")) == ["p", "p", "q", "q"]
    np.testing.assert_array_equal(found.second.units, [0, 0, 1])
    assert list(found.second.of(np.array([1])).column("document")) == ["1"]


def test_what_is_hidden_of_a_text_is_a_row_of_it() -> None:
    columns = COLUMNS_OF["masked"]
    turned = {name: values[::-1] for name, values in columns.items()}
    found = match(make_predictions("masked", "f", columns), make_predictions("masked", "f", turned))
    np.testing.assert_array_equal(found.first.units, [0, 0, 0, 1])
    np.testing.assert_array_equal(found.second.units, [0, 0, 0, 1])
    words = found.second.where(found.second.column("hidden") == "word")
    assert list(words.column("loss")) == [9.0, 1.5]
    np.testing.assert_array_equal(words.units, [0, 1])
    others = found.first.where(found.first.column("place") == 7)
    np.testing.assert_array_equal(others.units, [0])


@pytest.mark.parametrize("rows", [(0, 1, 3), (0, 2, 3)])
def test_a_text_of_which_other_parts_are_hidden_is_refused(rows: tuple[int, ...]) -> None:
    columns = COLUMNS_OF["masked"]
    fewer = {name: [values[row] for row in rows] for name, values in columns.items()}
    both = make_predictions("masked", "f", columns), make_predictions("masked", "f", fewer)
    for one, other in (both, both[::-1]):
        with pytest.raises(UserError, match="they differ in the rows of a unit"):
            match(one, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "clicks"}, "they differ in kind, 'pairs' and 'clicks'"),
        ({"fingerprint": "g"}, "they differ in the fingerprint of their data, 'f' and 'g'"),
        (
            {"columns": COLUMNS_OF["pairs"] | {"label": [1, 1, 1]}},
            "what is right of group 'de', unit '2', .0,. and .1,.",
        ),
        ({"columns": COLUMNS_OF["pairs"] | {"group": ["fr"] * 3, "unit": ["1", "2", "3"]}}, "no unit in common"),
    ],
)
def test_what_cannot_be_compared_is_named(change: dict[str, Any], message: str) -> None:
    arguments = {"kind": "pairs", "fingerprint": "f", "columns": COLUMNS_OF["pairs"]}
    with pytest.raises(UserError, match=message):
        match(make_predictions(**arguments), make_predictions(**(arguments | change)))


def test_other_settings_are_refused() -> None:
    one, other = (
        make_predictions("search", "f", COLUMNS_OF["search"], {"gain": gain}) for gain in ("linear", "exponential")
    )
    with pytest.raises(UserError, match="they differ in settings, .*linear.* and .*exponential"):
        match(one, other)


def test_a_grade_that_differs_is_refused() -> None:
    other = COLUMNS_OF["search"] | {"grade": [3.0, 1.0, 0.5, 1.0]}
    with pytest.raises(UserError, match="group 'en', query 'q', document '2'"):
        match(make_predictions("search", "f", COLUMNS_OF["search"]), make_predictions("search", "f", other))
