"""Comparisons in a terminal, and as JSON, Markdown and HTML."""

import dataclasses
import json
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from m5jax.errors import UserError
from m5jax.evaluation.compare import Comparison, MetricComparison
from m5jax.evaluation.compare_report import comparison_text, write_comparisons
from m5jax.evaluation.estimates import Difference
from tests.evaluation.evaluation_examples import HOSTILE
from tests.evaluation.html_checks import Page

COMPARISON = Comparison(
    first="runs/a",
    second="runs/b",
    kind="text",
    units=1200,
    only_first=3,
    only_second=0,
    samples=1000,
    seed=7,
    metrics=(
        MetricComparison("(all)", "f1", 0.5, 0.75, Difference(0.25, 0.125, 0.375, 1 / 1001, 1200), 2 / 1001),
        MetricComparison("de", "loss", 2.0, 1.5, Difference(-0.5, None, None, None, 600), None),
    ),
    notes=("de: left out",),
)


def hostile(text: str) -> Comparison:
    metrics = [dataclasses.replace(row, group=text, metric=text) for row in COMPARISON.metrics[:1]]
    return dataclasses.replace(COMPARISON, first=text, second=text, metrics=tuple(metrics), notes=(text,))


def test_the_text_of_a_terminal() -> None:
    assert comparison_text(COMPARISON).splitlines() == [
        "runs/b against runs/a",
        "group    metric      runs/a    runs/b    difference      95% interval       p    p (Holm)",
        "-------  --------  --------  --------  ------------  ----------------  ------  ----------",
        "(all)    f1          0.5000    0.7500       +0.2500  (0.1250, 0.3750)  0.0010      0.0020",
        "de       loss        2.0000    1.5000       -0.5000                 –       –           –",
        "units in both: 1,200",
        "units only in runs/a: 3",
        "units only in runs/b: 0",
        "difference: the second less the first; 95% interval of the paired bootstrap",
        "p: two-sided, paired permutation test, 1,000 samples, seed 7",
        "p (Holm): corrected over all p-values, which are 1",
        "note: de: left out",
    ]


def test_a_folder_holds_json_markdown_and_html(tmp_path: Path) -> None:
    folder = write_comparisons(tmp_path / "out", [COMPARISON, dataclasses.replace(COMPARISON, second="runs/c")])
    assert sorted(path.name for path in folder.iterdir()) == ["compare.html", "compare.json", "compare.md"]
    values = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
    assert (values["format"], values["version"]) == ("m5jax comparison", 1)
    first, second = values["comparisons"]
    assert (first["second"], second["second"], first["units"]) == ("runs/b", "runs/c", 1200)
    assert first["metrics"][0]["difference"] == {
        "value": 0.25, "low": 0.125, "high": 0.375, "p_value": 1 / 1001, "count": 1200,
    }  # fmt: skip
    page = Page((folder / "compare.html").read_text(encoding="utf-8"))
    page.check_stands_alone()
    assert page.tags["table"] == 2
    assert page.tags["svg"] == 4
    assert page.cells[:8] == ["(all)", "f1", "0.5000", "0.7500", "+0.2500", "(0.1250, 0.3750)", "0.0010", "0.0020"]
    text = (folder / "compare.md").read_text(encoding="utf-8")
    assert "| (all) | f1 | 0.5000 | 0.7500 | +0.2500 | (0.1250, 0.3750) | 0.0010 | 0.0020 |" in text
    assert "## runs/c against runs/a" in text


@pytest.mark.parametrize("text", [HOSTILE, "\ud800\0", "赤い"])
def test_hostile_texts_do_nothing(tmp_path: Path, text: str) -> None:
    folder = write_comparisons(tmp_path / "out", [hostile(text)])
    page = Page((folder / "compare.html").read_text(encoding="utf-8"))
    page.check_stands_alone()
    assert page.tags["a"] == page.tags["pre"] == 0
    tokens = MarkdownIt().enable("table").parse((folder / "compare.md").read_text(encoding="utf-8"))
    kinds = [inner.type for token in tokens for inner in (token, *(token.children or []))]
    assert not {"html_block", "html_inline", "link_open", "code_inline", "em_open"} & set(kinds)
    assert kinds.count("heading_open") == 2
    assert json.loads((folder / "compare.json").read_text(encoding="utf-8"))["comparisons"][0]["first"] == text


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(UserError, match="exists; remove it or choose another one"):
        write_comparisons(tmp_path, [COMPARISON])
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
