"""The Markdown shows what the report holds, and nothing in it is markup that was not meant."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from m5jax.evaluation.report_data import EvaluationReport, Matrix
from m5jax.evaluation.report_markdown import MOST_COLUMNS, markdown_table, markdown_text, report_markdown
from tests.evaluation.evaluation_examples import HOSTILE, report_of

GOLDEN = r"""
# Report de

## Metrics

| metric | first de | second de |
| :-- | --: | --: |
| f1 de | 0.8000 (0.7500, 0.8500) | 0.8000 (0.7500, 0.8500) |
| loss de | 1234 | – |
| units | 900–1,200 | 1,200 |

## Facts

- run de: runs/a de

## Notes

- note de

## Matrix de

| label \\ predicted | a de | b de |
| :-- | --: | --: |
| a de | 7 | 1 |
| b de | 0 | 23 |

## Worst mistakes

### mistake de

- left de: kettle de
""".lstrip()


def parsed(text: str) -> list[Token]:
    tokens = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(text)
    return [inner for token in tokens for inner in (token, *(token.children or []))]


def test_the_page_of_several_groups() -> None:
    assert report_markdown(report_of("de")) == GOLDEN


def test_one_group_has_a_column_for_its_interval_and_units() -> None:
    report = report_of("de")
    one = EvaluationReport(report.title, report.kind, {}, report.groups[:1])
    assert report_markdown(one).splitlines() == [
        "# Report de",
        "",
        "## Metrics",
        "",
        "| metric | value | 95% interval | units |",
        "| :-- | --: | --: | --: |",
        "| f1 de | 0.8000 | (0.7500, 0.8500) | 1,200 |",
        "| loss de | 1234 | – | 900 |",
    ]


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
    | st.text("_*`[]()<>|\\#+-=.1a \n~$&!", min_size=1)
)
@example(HOSTILE)
@example("__a b__ _c_ d_e_f")
@example("1. list")
@example("- list")
@example("---")
@example("&amp; &#60;")
def test_any_text_is_shown_as_it_is(text: str) -> None:
    shown = " ".join(text.replace("\0", "\N{REPLACEMENT CHARACTER}").split())
    for prefix in ("", "- ", "- x: "):
        tokens = parsed(prefix + markdown_text(text))
        kinds = [token.type for token in tokens]
        assert {kind for kind in kinds if kind not in ("inline", "text", "text_special")} <= {
            "paragraph_open", "paragraph_close", "bullet_list_open", "bullet_list_close", "list_item_open",
            "list_item_close",
        }  # fmt: skip
        assert kinds.count("list_item_open") == bool(prefix)
        inline = "".join(token.content for token in tokens if token.type in ("text", "text_special"))
        assert inline == prefix.removeprefix("- ") + shown or not shown


@given(
    cells=st.lists(st.lists(st.text(st.sampled_from("ab|\\`*_<\n -")), min_size=2, max_size=2), min_size=1, max_size=3)
)
def test_any_cell_is_shown_as_it_is(cells: list[list[str]]) -> None:
    tokens = parsed(markdown_table(["a", "b"], cells))
    shown: list[str] = []
    for token in tokens:
        if token.type == "td_open":
            shown.append("")
        elif shown and token.type in ("text", "text_special"):
            shown[-1] += token.content
    assert shown == [" ".join(cell.split()) for row in cells for cell in row]


def test_hostile_texts_make_no_markup() -> None:
    tokens = parsed(report_markdown(report_of(HOSTILE)))
    kinds = {token.type for token in tokens}
    assert not kinds & {
        "html_block",
        "html_inline",
        "link_open",
        "image",
        "code_inline",
        "fence",
        "code_block",
        "em_open",
    }
    assert sum(token.type == "heading_open" for token in tokens) == 7
    assert sum(token.type == "td_open" for token in tokens) == 9 + 6


@pytest.mark.parametrize("count", [MOST_COLUMNS, MOST_COLUMNS + 1])
def test_a_matrix_wider_than_a_page_is_left_to_the_html(tmp_path: Path, count: int) -> None:
    matrix = Matrix("Intents", tuple(map(str, range(count))), ((1,) * count,) * count)
    report = EvaluationReport("t", "classification", {}, report_of().groups, matrices=(matrix,))
    text = report_markdown(report)
    assert (f"{count} labels: see report.html" in text) == (count > MOST_COLUMNS)
