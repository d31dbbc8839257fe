"""The report of a preparation: one HTML file.

Texts of the input (languages, reasons, file names) are escaped. Pictures are SVG in the page, with the figures
that they show in a table beside them.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from m5jax.data.preparation.statistics import QUANTILES
from m5jax.html_page import PALETTE, html_page, html_section, html_table

FILE_NAME = "report.html"
# One color more, for the steps that the palette has none left for.
_COLORS = (*PALETTE, "#7d8590")


def write_report(directory: Path, statistics: Mapping[str, Any]) -> None:
    """Writes `report.html` from what `summarize` returned; lets OSError through."""
    languages = statistics["languages"]
    title = f"Prepared data {Path(statistics['settings']['output']).name}"
    figures = "".join(map(_length_figure, languages, languages.values()))
    body = [
        f"<p>{_headline(statistics)}</p>",
        html_section(
            "What became of the rows", f"<figure>{_outcome_bars(statistics)}</figure>{_outcome_table(statistics)}"
        ),
        html_section("What is kept", _split_table(languages)),
        html_section("Lengths of the kept texts", f'<div class="charts">{figures}</div>{_quantile_table(languages)}'),
        html_section("Bad rows", _table(("reason", "rows"), list(statistics["rejected_reasons"].items()))),
        html_section("Settings", _json(statistics["settings"])),
        html_section("Input", _json(statistics["input"])),
    ]
    (directory / FILE_NAME).write_text(html_page(title, body), encoding="utf-8")


def _json(values: Any) -> str:
    return f"<pre>{escape(json.dumps(values, indent=2, ensure_ascii=False))}</pre>"


def _headline(statistics: Mapping[str, Any]) -> str:
    read, kept = statistics["read"], statistics["kept"]
    share = f"{kept / read:.1%}" if read else "none"
    return (
        f"{kept:,} of {read:,} records kept ({share}) · {statistics['rejected']:,} bad rows · "
        f"fingerprint {escape(statistics['fingerprint'])}"
    )


def _table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    texts = [[f"{value:,}" if isinstance(value, int) else str(value) for value in row] for row in rows]
    return html_table(headers, texts) if texts else "<p>None.</p>"


def _outcome_table(statistics: Mapping[str, Any]) -> str:
    steps = list(statistics["dropped"])
    rows = [
        [language, values["read"], *(values["dropped"].get(step, 0) for step in steps), values["kept"]]
        for language, values in statistics["languages"].items()
    ]
    rows.append(["all", statistics["read"], *statistics["dropped"].values(), statistics["kept"]])
    return _table(("language", "read", *(step.replace("_", " ") for step in steps), "kept"), rows)


def _split_table(languages: Mapping[str, Any]) -> str:
    rows = [
        [language, split, *(values[unit] for unit in ("records", "bytes", "characters", "words"))]
        for language, of_language in languages.items()
        for split, values in of_language["splits"].items()
    ]
    return _table(("language", "split", "records", "bytes", "characters", "words"), rows)


def _quantile_table(languages: Mapping[str, Any]) -> str:
    names = [f"{quantile:g}" for quantile in QUANTILES]
    rows = [
        [f"{language}, {unit}s", *(values[f"{unit}_quantiles"].get(name, "–") for name in names)]
        for language, values in languages.items()
        for unit in ("character", "word")
    ]
    return _table(("quantile", *names), rows)


def _outcome_bars(statistics: Mapping[str, Any]) -> str:
    """Returns one bar a language, divided into the kept rows and those that each step dropped."""
    names = ["kept", *statistics["dropped"]]
    colors = {name: _COLORS[min(index, len(_COLORS) - 1)] for index, name in enumerate(names)}
    parts = []
    for row, (language, values) in enumerate(statistics["languages"].items()):
        y, x = 6 + 24 * row, 70.0
        parts.append(f'<text x="0" y="{y + 13}">{escape(language)}</text>')
        for name, count in {"kept": values["kept"], **values["dropped"]}.items():
            width = 720.0 * count / values["read"]
            label = f"{escape(language)}: {name.replace('_', ' ')} {count:,}"
            parts.append(
                f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="18" fill="{colors[name]}">'
                f"<title>{label}</title></rect>"
            )
            x += width
    top = 16 + 24 * len(statistics["languages"])
    for index, name in enumerate(names):
        x, y = 70 + 180 * (index % 4), top + 18 * (index // 4)
        parts.append(f'<rect x="{x}" y="{y}" width="10" height="10" fill="{colors[name]}"/>')
        parts.append(f'<text x="{x + 15}" y="{y + 9}">{escape(name.replace("_", " "))}</text>')
    height = top + 18 * -(-len(names) // 4) + 4
    return _drawing("Rows by outcome", 800, height, parts)


def _length_figure(language: str, values: Mapping[str, Any]) -> str:
    """Returns a histogram of the lengths of a language's texts, in characters, over bins of equal ratio."""
    bins = values["character_histogram"]
    if not bins:
        return ""
    most, width = max(count for _, count in bins), 400 / len(bins)
    parts = []
    for index, (least, count) in enumerate(bins):
        height = 120 * count / most
        parts.append(
            f'<rect x="{index * width:.2f}" y="{130 - height:.2f}" width="{max(width - 1, 0.5):.2f}" '
            f'height="{height:.2f}" fill="{_COLORS[0]}"><title>from {least:,} characters: {count:,}</title></rect>'
        )
        if index % max(1, len(bins) // 6) == 0:
            parts.append(f'<text x="{index * width:.2f}" y="145">{least:,}</text>')
    label = f"{escape(language)}: texts by their length in characters"
    return f"<figure><figcaption>{label}</figcaption>{_drawing(label, 420, 150, parts)}</figure>"


def _drawing(label: str, width: int, height: int, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width} {height}"'
    return f'<svg class="drawing" role="img" aria-label="{label}" {size}>{"".join(parts)}</svg>'
