"""Cells: numbers that can be read, a column a group."""

import pytest

from m5jax.evaluation.estimates import Estimate
from m5jax.evaluation.report_data import Group
from m5jax.evaluation.report_tables import MOST_COLUMNS, interval_text, metric_names, metric_table, number

F1, LOSS = Estimate(0.81234, 0.75, 0.85, 1200), Estimate(1.5, None, None, 900)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (0.81234, "0.8123"),
        (-0.5, "-0.5000"),
        (1e-5, "1e-05"),
        (12345.6, "1.235e+04"),
        (999.5, "999.5000"),
    ],
)
def test_numbers_keep_digits_that_say_something(value: float, text: str) -> None:
    assert number(value) == text


def test_an_interval_or_a_dash() -> None:
    assert interval_text(F1) == "(0.7500, 0.8500)"
    assert interval_text(LOSS) == "–"


def test_one_group_has_a_row_a_metric() -> None:
    headers, rows = metric_table([Group("de", {"f1": F1, "loss": LOSS})])
    assert headers == ["metric", "value", "95% interval", "units"]
    assert rows == [["f1", "0.8123", "(0.7500, 0.8500)", "1,200"], ["loss", "1.5000", "–", "900"]]


def test_several_groups_have_a_column_each() -> None:
    groups = [Group("de", {"f1": F1}), Group("en", {"loss": LOSS, "f1": F1}), Group("fr", {})]
    assert metric_names(groups) == ["f1", "loss"]
    headers, rows = metric_table(groups)
    assert headers == ["metric", "de", "en", "fr"]
    assert rows == [
        ["f1", "0.8123 (0.7500, 0.8500)", "0.8123 (0.7500, 0.8500)", "–"],
        ["loss", "–", "1.5000", "–"],
        ["units", "1,200", "900–1,200", "–"],
    ]


def test_many_groups_have_a_row_each() -> None:
    groups = [Group(f"group {number}", {"f1": F1} if number else {"loss": LOSS}) for number in range(MOST_COLUMNS + 1)]
    headers, rows = metric_table(groups)
    assert headers == ["group", "loss", "f1", "units"]
    assert rows[:2] == [["group 0", "1.5000", "–", "900"], ["group 1", "–", "0.8123 (0.7500, 0.8500)", "1,200"]]
    assert [row[0] for row in rows] == [group.name for group in groups]
    assert metric_table(groups[1:])[0] == ["metric", *(group.name for group in groups[1:])]
