"""A figure in a page: ids of its own, the page's colors, nothing of the text is markup."""

from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.figure import Figure

from m5jax.evaluation.figures import INK, figure_settings, inline_svg
from tests.evaluation.html_checks import Page


def drawn(name: str, title: str) -> str:
    with rc_context(figure_settings(INK)):
        figure = Figure(figsize=(3, 2))
        figure.subplots().plot([0, 1], [1, 0])
        figure.axes[0].set_title(title)
        return inline_svg(figure, title, name)


def test_two_figures_share_no_id_and_load_nothing() -> None:
    page = Page(drawn("one", "a") + drawn("two/2", "b"))
    page.check_stands_alone()
    assert page.tags["svg"] == 2
    assert all(name.startswith(("one-", "two-2-")) for name in page.ids)


def test_text_is_text_and_takes_the_color_of_the_page() -> None:
    svg = drawn("one", '<b onclick="x">$\\frac$</b>')
    assert INK not in svg
    assert "currentColor" in svg
    page = Page(svg)
    assert page.tags["b"] == 0
    assert '<b onclick="x">$\\frac$</b>' in "".join(page.texts)
    assert ElementTree.fromstring(svg.replace("xlink:href", "href")).get("aria-label") == '<b onclick="x">$\\frac$</b>'


def test_the_same_figure_is_the_same_text() -> None:
    assert drawn("one", "a") == drawn("one", "a")
