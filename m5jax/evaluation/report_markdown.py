"""The report of an evaluation as Markdown (GitHub's, which has tables).

All texts are untrusted: `markdown_text` makes of each one line that is shown as it is.
"""

import re
from collections.abc import Mapping, Sequence

from m5jax.evaluation.report_data import EvaluationReport, Matrix
from m5jax.evaluation.report_tables import metric_table

# With these a text could begin emphasis, code, a link, HTML, a cell of a table; "_" only at the end of a word.
_MARKUP = re.compile(r"([\\`*\[\]|~<>&$]|(?<![^\W_])_|_(?![^\W_]))")
# These begin a heading or a list at the beginning of a line.
_BEGINNING = re.compile(r"^(\d*)([#+.)-](?=[ #]|$)|[=-](?=[=-]*$))")
# More labels than this are wider than any page.
MOST_COLUMNS = 20


def report_markdown(report: EvaluationReport) -> str:
    """Returns the report as a page of Markdown."""
    parts = [
        f"# {markdown_text(report.title)}",
        *_section("Metrics", markdown_table(*metric_table(report.groups))),
        *_section("Facts", _list(report.facts)),
        *_section("Notes", "\n".join(f"- {markdown_text(note)}" for note in report.notes)),
        *(part for matrix in report.matrices for part in _section(matrix.title, _matrix(matrix))),
        *_section("Worst mistakes", "\n\n".join(_example(item.heading, item.fields) for item in report.examples)),
    ]
    return "\n\n".join(parts) + "\n"


def markdown_text(text: str) -> str:
    """Returns a text in one line in which nothing is markup."""
    line = _MARKUP.sub(r"\\\1", " ".join(text.split()))
    return _BEGINNING.sub(r"\1\\\2", line)


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Returns a table of texts; so many columns are aligned to the left, the others to the right."""
    head, *cells = ([markdown_text(cell) for cell in line] for line in (headers, *rows))
    align = [":--" if column < left else "--:" for column in range(len(headers))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, align, *cells))


def _section(title: str, content: str) -> list[str]:
    return [f"## {markdown_text(title)}", content] if content else []


def _list(values: Mapping[str, str]) -> str:
    return "\n".join(f"- {markdown_text(name)}: {markdown_text(value)}" for name, value in values.items())


def _example(heading: str, fields: Mapping[str, str]) -> str:
    return f"### {markdown_text(heading)}\n\n{_list(fields)}".rstrip()


def _matrix(matrix: Matrix) -> str:
    if len(matrix.labels) > MOST_COLUMNS:
        return f"{len(matrix.labels)} labels: see report.html and report.json."
    rows = [[label, *map(str, counts)] for label, counts in zip(matrix.labels, matrix.counts, strict=True)]
    return markdown_table(["label \\ predicted", *matrix.labels], rows)
