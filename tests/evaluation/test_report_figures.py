"""Pictures: what they show, and what they do with labels and numbers that nobody planned for."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m5jax.evaluation.estimates import Estimate
from m5jax.evaluation.report_data import Curve, Group, Line, Matrix
from m5jax.evaluation.report_figures import curve_figures, interval_figures, matrix_figures
from tests.evaluation.html_checks import Page

ESTIMATE = Estimate(0.8, 0.75, 0.85, 10)


def curve_of(*lines: Line, diagonal: bool = False) -> Curve:
    return Curve("Title", "recall", "precision", lines, diagonal)


def test_a_curve_shows_its_lines_and_the_diagonal() -> None:
    lines = Line("de", (0.0, 1.0), (1.0, 0.5)), Line("_hidden", (0.0, 1.0), (1.0, 0.2))
    (plain,) = curve_figures([curve_of(*lines)])
    (diagonal,) = curve_figures([curve_of(*lines, diagonal=True)])
    text = "".join(Page(plain).texts)
    assert all(expected in text for expected in ("Title", "recall", "precision", "de", "_hidden"))
    assert "stroke-dasharray" not in plain
    assert "stroke-dasharray" in diagonal


def test_no_lines_and_no_points_are_drawn_too() -> None:
    assert len(curve_figures([curve_of(), curve_of(Line("de", (), ()))])) == 2
    assert curve_figures([]) == matrix_figures([]) == []


def test_a_matrix_shows_every_count_but_nothing_for_zero() -> None:
    (figure,) = matrix_figures([Matrix("Intents", ("buy", "ask"), ((1234, 7), (0, 42)))])
    texts = [text.strip() for text in Page(figure).texts if text.strip()]
    assert [texts.count(text) for text in ("1,234", "7", "42", "0", "buy", "ask")] == [1, 1, 1, 0, 2, 2]


def test_several_groups_have_a_picture_a_metric() -> None:
    groups = [Group("de", {"f1": ESTIMATE, "loss": Estimate(40.0, None, None, 5)}), Group("en", {"f1": ESTIMATE})]
    figures = interval_figures(groups)
    first, second = ({text.strip() for text in Page(figure).texts} for figure in figures)
    assert {"f1", "de", "en", "0.8000"} <= first
    assert {"loss", "de", "40.0000"} <= second
    assert "en" not in second


def test_one_group_has_one_picture_of_its_shares() -> None:
    (figure,) = interval_figures([Group("de", {"f1": ESTIMATE, "loss": Estimate(40.0, None, None, 5)})])
    text = "".join(Page(figure).texts)
    assert "f1" in text
    assert "loss" not in text
    assert interval_figures([Group("de", {"loss": Estimate(40.0, 30.0, 50.0, 5)})]) == []


def test_zero_is_marked_where_an_interval_crosses_it() -> None:
    for low, marked in ((-0.1, True), (0.05, False)):
        (figure,) = interval_figures([Group("de", {"gain": Estimate(0.1, low, 0.2, 9)})])
        assert ("stroke-dasharray" in figure) == marked


@settings(max_examples=12)
@given(
    label=st.text(min_size=1, max_size=60)
    | st.sampled_from(["\0\x1b", "\ud800", "赤いやかん", "$x$ & <b>", "_a", "-->"])
)
def test_any_label_is_drawn_without_a_warning(label: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = curve_figures(
            [Curve("t", label, label, (Line(label, (0.0,), (1.0,)), Line("b", (0.0,), (1.0,))), False)]
        )
        figures += matrix_figures([Matrix("t", (label, label + "b"), ((1, 2), (3, 4)))])
        figures += interval_figures([Group(label, {"a": ESTIMATE}), Group("b" + label, {"a": ESTIMATE})])
    for figure in figures:
        page = Page(figure.encode("utf-8").decode("utf-8"))
        page.check_stands_alone()
        assert page.tags["svg"] == 1


@pytest.mark.parametrize("value", [0.0, 1e-300, 1e300, -1e300])
def test_any_number_is_drawn(value: float) -> None:
    line = Line("a", (value, 0.0), (0.0, value))
    assert len(curve_figures([curve_of(line, diagonal=True)])) == 1
    groups = [Group(name, {"a": Estimate(value, value, value, 1)}) for name in "ab"]
    assert len(interval_figures(groups)) == 1
