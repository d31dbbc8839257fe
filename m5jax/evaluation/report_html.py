"""The report of an evaluation as one HTML page, which needs nothing else.

All texts are untrusted: `html.escape` guards the HTML, `m5jax.evaluation.report_figures` the pictures.
"""

from collections.abc import Sequence
from html import escape

from m5jax.evaluation.report_data import EvaluationReport, Example
from m5jax.evaluation.report_figures import curve_figures, interval_figures, matrix_figures
from m5jax.evaluation.report_tables import metric_table
from m5jax.html_page import html_definitions, html_page, html_section, html_table


def report_html(report: EvaluationReport) -> str:
    """Returns the page: metrics with their intervals, curves, confusion, facts, notes and the worst mistakes."""
    headers, rows = metric_table(report.groups)
    body = [
        html_section("Metrics", html_table(headers, rows)),
        html_section("95% intervals", _charts(interval_figures(report.groups))),
        html_section("Curves", _charts(curve_figures(report.curves))),
        html_section("Confusion", "".join(matrix_figures(report.matrices))),
        html_section("Worst mistakes", "".join(map(_example, report.examples))),
        html_section("Facts", html_definitions(report.facts)),
        html_section("Notes", "".join(f"<p>{escape(note)}</p>" for note in report.notes)),
    ]
    return html_page(report.title, body)


def _charts(figures: Sequence[str]) -> str:
    return f'<div class="charts">{"".join(figures)}</div>' if figures else ""


def _example(example: Example) -> str:
    return f"<p>{escape(example.heading)}</p>{html_definitions(example.fields)}"
