"""Comparisons as text, and as a folder of `compare.json`, `compare.md` and `compare.html`.

All texts are untrusted and escaped, as in the reports of evaluations.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from m5jax.evaluation.compare import Comparison, MetricComparison
from m5jax.evaluation.estimates import Estimate
from m5jax.evaluation.report_data import Group
from m5jax.evaluation.report_figures import interval_figures
from m5jax.evaluation.report_markdown import markdown_table, markdown_text
from m5jax.evaluation.report_tables import interval_text, number
from m5jax.evaluation.reports import new_folder
from m5jax.evaluation.tables import MISSING, format_table
from m5jax.html_page import html_definitions, html_page, html_section, html_table

FORMAT, VERSION = "m5jax comparison", 1
TITLE = "Comparison"
JSON_NAME, MARKDOWN_NAME, HTML_NAME = "compare.json", "compare.md", "compare.html"


def comparison_text(comparison: Comparison) -> str:
    """Returns what a terminal shows of a comparison."""
    headers, rows = _table(comparison)
    facts = [f"{name}: {value}" for name, value in _facts(comparison).items()]
    notes = [f"note: {note}" for note in comparison.notes]
    table = format_table(headers, rows, ["left", "left", *["right"] * (len(headers) - 2)])
    return "\n".join([_title(comparison), table, *facts, *notes])


def write_comparisons(folder: Path, comparisons: Sequence[Comparison]) -> Path:
    """Writes the files of comparisons, all or none; returns the folder, which must be empty or not exist.

    Raises:
        UserError: there is something in the folder, or it cannot be written.
    """
    described = {
        "format": FORMAT,
        "version": VERSION,
        "comparisons": [dataclasses.asdict(comparison) for comparison in comparisons],
    }
    texts = {
        JSON_NAME: json.dumps(described, indent=1, allow_nan=False) + "\n",
        MARKDOWN_NAME: _markdown(comparisons),
        HTML_NAME: _html(comparisons),
    }
    with new_folder(folder) as staging:
        for name, text in texts.items():
            (staging / name).write_text(text, encoding="utf-8", errors="replace")
    return folder


def _markdown(comparisons: Sequence[Comparison]) -> str:
    parts = [f"# {TITLE}"]
    for comparison in comparisons:
        facts = [f"{name}: {value}" for name, value in _facts(comparison).items()]
        lines = "\n".join(f"- {markdown_text(line)}" for line in [*facts, *comparison.notes])
        parts += [f"## {markdown_text(_title(comparison))}", markdown_table(*_table(comparison), left=2), lines]
    return "\n\n".join(parts) + "\n"


def _html(comparisons: Sequence[Comparison]) -> str:
    body = []
    for place, comparison in enumerate(comparisons):
        figures = interval_figures(_differences(comparison), f"difference-{place}")
        facts = dict(_facts(comparison)) | {f"Note {count}": note for count, note in enumerate(comparison.notes, 1)}
        headers, rows = _table(comparison)
        body += [
            html_section(_title(comparison), html_table(headers, rows)),
            f'<div class="charts">{"".join(figures)}</div>' if figures else "",
            html_definitions(facts),
        ]
    return html_page(TITLE, body)


def _title(comparison: Comparison) -> str:
    return f"{comparison.second} against {comparison.first}"


def _table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    headers = ["group", "metric", comparison.first, comparison.second, "difference", "95% interval", "p", "p (Holm)"]
    return headers, [_row(metric) for metric in comparison.metrics]


def _row(metric: MetricComparison) -> list[str]:
    return [
        metric.group,
        metric.metric,
        number(metric.first),
        number(metric.second),
        _signed(metric.difference.value),
        interval_text(_estimate(metric)),
        _p_text(metric.difference.p_value),
        _p_text(metric.corrected_p_value),
    ]


def _facts(comparison: Comparison) -> Mapping[str, str]:
    return {
        "units in both": f"{comparison.units:,}",
        f"units only in {comparison.first}": f"{comparison.only_first:,}",
        f"units only in {comparison.second}": f"{comparison.only_second:,}",
        "difference": "the second less the first; 95% interval of the paired bootstrap",
        "p": f"two-sided, paired permutation test, {comparison.samples:,} samples, seed {comparison.seed}",
        "p (Holm)": f"corrected over all p-values, which are {comparison.tests}",
    }


def _differences(comparison: Comparison) -> list[Group]:
    groups: dict[str, dict[str, Estimate]] = {}
    for metric in comparison.metrics:
        groups.setdefault(metric.group, {})[f"difference in {metric.metric}"] = _estimate(metric)
    return [Group(name, metrics) for name, metrics in groups.items()]


def _estimate(metric: MetricComparison) -> Estimate:
    difference = metric.difference
    return Estimate(difference.value, difference.low, difference.high, difference.count)


def _signed(value: float) -> str:
    return f"+{number(value)}" if value > 0 else number(value)


def _p_text(p_value: float | None) -> str:
    return MISSING if p_value is None else f"{p_value:.4f}" if p_value >= 1e-4 else f"{p_value:.1e}"
