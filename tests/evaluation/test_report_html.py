"""The page of an evaluation needs nothing else, shows what was found, and escapes every text."""

import dataclasses

from m5jax.evaluation.report_data import Group
from m5jax.evaluation.report_html import report_html
from tests.evaluation.evaluation_examples import HOSTILE, report_of
from tests.evaluation.html_checks import Page


def test_the_page_shows_everything() -> None:
    page = Page(report_html(report_of("de")))
    assert page.cells == [
        "f1 de", "0.8000 (0.7500, 0.8500)", "0.8000 (0.7500, 0.8500)",
        "loss de", "1234", "–",
        "units", "900–1,200", "1,200",
    ]  # fmt: skip
    text = "".join(page.texts)
    for expected in ("Report de", "Curve de", "Matrix de", "mistake de", "kettle de", "runs/a de", "note de", "one de"):
        assert expected in text
    assert page.tags["svg"] == page.tags["figure"] == 4
    page.check_stands_alone()


def test_hostile_texts_are_shown_and_do_nothing() -> None:
    page = Page(report_html(report_of(HOSTILE)))
    page.check_stands_alone()
    assert page.tags["a"] == page.tags["pre"] == 0
    text = "".join(page.texts)
    for expected in ("Report", "mistake", "left", "kettle", "run", "runs/a", "note", "f1", "first"):
        assert f"{expected} {HOSTILE}" in text
    assert "<script" not in report_html(report_of(HOSTILE))


def test_what_is_not_there_has_no_section() -> None:
    report = report_of("de")
    bare = dataclasses.replace(
        report, facts={}, groups=(Group("de", {}),), curves=(), matrices=(), examples=(), notes=()
    )
    page = Page(report_html(bare))
    assert page.tags["h2"] == 1
    assert page.tags["svg"] == page.tags["dl"] == 0


def test_a_lone_surrogate_reaches_the_file_as_a_question_mark() -> None:
    page = report_html(report_of("\ud800"))
    Page(page.encode("utf-8", errors="replace").decode("utf-8")).check_stands_alone()
