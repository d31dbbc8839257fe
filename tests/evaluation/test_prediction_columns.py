"""What rows of predictions may hold, kind by kind."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from m5jax.errors import UserError
from m5jax.evaluation.prediction_columns import COLUMNS, KINDS, TRUTH, check_table, row_keys, unit_keys
from m5jax.evaluation.predictions import make_predictions
from tests.evaluation.evaluation_examples import COLUMNS_OF


@pytest.mark.parametrize("kind", KINDS)
def test_every_column_is_needed_but_the_score_of_a_class(kind: str) -> None:
    for name in COLUMNS[kind]:
        left = {column: values for column, values in COLUMNS_OF[kind].items() if column != name}
        if (kind, name) == ("classification", "score"):
            assert make_predictions(kind, "f", left).table.to_pydict() == left
        else:
            with pytest.raises(UserError, match=f"predictions of kind {kind} have columns"):
                make_predictions(kind, "f", left)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("pairs", {"score": [0.1, np.nan, 0.2]}, "column score of pairs holds NaN or an infinity"),
        ("pairs", {"score": [0.1, np.inf, 0.2]}, "column score of pairs holds NaN or an infinity"),
        ("pairs", {"score": [0.1, None, 0.2]}, "column score of pairs lacks a value"),
        ("pairs", {"unit": ["1", "1", "1"]}, "two rows of pairs have the same group and unit"),
        ("pairs", {"label": [0, 1, 2]}, "column label of pairs holds something else than 0 and 1"),
        ("pairs", dict.fromkeys(COLUMNS["pairs"], ()), "predictions have no rows"),
        ("search", {"rank": [1, 0, 1, None]}, "the ranks of a query of search are not 1, 2, 3"),
        ("search", {"rank": [3, 1, 1, None]}, "the ranks of a query of search are not 1, 2, 3"),
        ("search", {"rank": [1, 1, 1, None]}, "the ranks of a query of search are not 1, 2, 3"),
        ("search", {"rank": [2, 1, 2, None]}, "the ranks of a query of search are not 1, 2, 3"),
        ("search", {"rank": [1, 2, 1, None]}, "the ranks of a query of search are not by falling score"),
        ("search", {"rank": [2, 1, 1, 2]}, "a row of search has a score or a rank only"),
        ("search", {"score": [0.1, 0.2, None, None]}, "a row of search has a score or a rank only"),
        ("search", {"score": [None] * 4, "rank": [None] * 4}, "no document of search was found"),
        ("search", {"score": [0.1, 0.2, np.nan, None]}, "column score of search holds NaN"),
        ("search", {"grade": [0.0, -1.0, 1, 1]}, "column grade of search holds -1.0; allowed: 0 and above"),
        ("search", {"grade": [0.0, None, 1, 1]}, "column grade of search lacks a value"),
        ("search", {"weight": [0.0, 0.0, 1, 1]}, "column weight of search holds 0.0; allowed: above 0"),
        ("search", {"weight": [1.0, 2.0, 1, 1]}, "a query of search has several weights"),
        ("search", {"query": ["q"] * 4}, "two rows of search have the same group and query and document"),
        (
            "masked",
            {"hidden": ["token", "word", "value", "text"]},
            "hidden of masked holds 'text'; allowed: token, word, value",
        ),
        ("masked", {"unit": ["1"] * 4, "place": [0, 7, 0, 7]}, "same group and unit and hidden and place"),
        ("masked", {"loss": [0.1, 9.0, np.nan, 1.5]}, "column loss of masked holds NaN"),
        ("understanding", {"tags": [["O", "O"], None]}, "column tags of understanding lacks a value"),
        ("understanding", {"tags": [["O", None], []]}, "column tags of understanding lacks a value"),
        ("understanding", {"tags": [["O"], ["O"]]}, "tags and predicted_tags of a unit differ in number"),
    ],
)
def test_what_predictions_may_not_hold_is_named(kind: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make_predictions(kind, "f", COLUMNS_OF[kind] | change)
    assert "\n" not in str(caught.value)


def test_equal_scores_may_have_either_order() -> None:
    columns = COLUMNS_OF["search"] | {"score": [0.2, 0.2, 0.3, None]}
    for ranks in ([2, 1, 1, None], [1, 2, 1, None]):
        make_predictions("search", "f", columns | {"rank": ranks})


def test_the_same_query_in_another_group_is_another() -> None:
    columns = COLUMNS_OF["search"] | {"query": ["q"] * 4, "group": ["de", "de", "en", "en"]}
    make_predictions("search", "f", columns)


def test_columns_in_another_order_or_of_another_type_are_refused() -> None:
    table = make_predictions("pairs", "f", COLUMNS_OF["pairs"]).table
    other = table.set_column(2, "label", table["label"].cast(pa.int64()))
    with pytest.raises(UserError, match="column label of pairs is of type int64; allowed: int8"):
        check_table("pairs", other)
    with pytest.raises(UserError, match="predictions of kind pairs have columns"):
        check_table("pairs", table.select(table.column_names[::-1]))


def test_keys_and_truth_are_columns_of_the_kind() -> None:
    assert row_keys("pairs") == unit_keys("pairs") == ("group", "unit")
    assert row_keys("search") == (*unit_keys("search"), "document") == ("group", "query", "document")
    assert row_keys("masked") == (*unit_keys("masked"), "hidden", "place") == ("group", "unit", "hidden", "place")
    for kind in KINDS:
        assert {*row_keys(kind), *TRUTH[kind]} < set(COLUMNS[kind])
