"""The report of a preparation: one HTML file without scripts and links, so that it opens anywhere and a year later.

Texts of the input (languages, reasons, file names) are escaped. Pictures are SVG in the page, with the figures
that they show in a table beside them.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from m5jax.data.preparation.statistics import QUANTILES

FILE_NAME = "report.html"
# Distinct for the color-blind and on a light as on a dark page (after Okabe and Ito, 2008).
_PALETTE = ("#0a84c8", "#e07b00", "#0a9e73", "#d0609f", "#8a6fdf", "#b59b00", "#3cb4d9", "#d6453d", "#7d8590")
_STYLE_SHEET = """
:root { color-scheme: light dark; --page: #fff; --ink: #1c2024; --soft: #60646c; --line: #d9dce1; --panel: #f6f7f9 }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181b; --ink: #e8eaed; --soft: #a0a6ae; --line: #363a40; --panel: #1f2226 }
}
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif }
h1 { margin: 0; font-size: 1.7rem; overflow-wrap: anywhere }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem }
p, figcaption, th { color: var(--soft) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .4rem 1.2rem .4rem 0; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
th { font-weight: 500 }
.wide { overflow-x: auto }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem }
figure { margin: 0; padding: .8rem; border: 1px solid var(--line); border-radius: 8px; background: var(--panel) }
svg { display: block; width: 100%; height: auto; fill: var(--ink); font: 11px system-ui, sans-serif }
pre { padding: 1rem; overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; background: var(--panel) }
"""


def write_report(directory: Path, statistics: Mapping[str, Any]) -> None:
    """Writes `report.html` from what `summarize` returned; lets OSError through."""
    languages = statistics["languages"]
    title = f"Prepared data {Path(statistics['settings']['output']).name}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{_headline(statistics)}</p>",
        "<h2>What became of the rows</h2>",
        f"<figure>{_outcome_bars(statistics)}</figure>",
        _outcome_table(statistics),
        "<h2>What is kept</h2>",
        _split_table(languages),
        "<h2>Lengths of the kept texts</h2>",
        '<div class="charts">' + "".join(map(_length_figure, languages, languages.values())) + "</div>",
        _quantile_table(languages),
        "<h2>Bad rows</h2>",
        _table(("reason", "rows"), list(statistics["rejected_reasons"].items())),
        "<h2>Settings</h2>",
        f"<pre>{escape(json.dumps(statistics['settings'], indent=2, ensure_ascii=False))}</pre>",
        "<h2>Input</h2>",
        f"<pre>{escape(json.dumps(statistics['input'], indent=2, ensure_ascii=False))}</pre>",
    ]
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE_SHEET}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )
    (directory / FILE_NAME).write_text(page, encoding="utf-8")


def _headline(statistics: Mapping[str, Any]) -> str:
    read, kept = statistics["read"], statistics["kept"]
    share = f"{kept / read:.1%}" if read else "none"
    return (
        f"{kept:,} of {read:,} records kept ({share}) · {statistics['rejected']:,} bad rows · "
        f"fingerprint {escape(statistics['fingerprint'])}"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def line(tag: str, values: Sequence[Any]) -> str:
        texts = (f"{value:,}" if isinstance(value, int) else str(value) for value in values)
        return "<tr>" + "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts) + "</tr>"

    if not rows:
        return "<p>None.</p>"
    return f'<div class="wide"><table>{line("th", header)}{"".join(line("td", row) for row in rows)}</table></div>'


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
    colors = {name: _PALETTE[min(index, len(_PALETTE) - 1)] for index, name in enumerate(names)}
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
    return f'<svg role="img" aria-label="Rows by outcome" viewBox="0 0 800 {height}">{"".join(parts)}</svg>'


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
            f'height="{height:.2f}" fill="{_PALETTE[0]}"><title>from {least:,} characters: {count:,}</title></rect>'
        )
        if index % max(1, len(bins) // 6) == 0:
            parts.append(f'<text x="{index * width:.2f}" y="145">{least:,}</text>')
    label = f"{escape(language)}: texts by their length in characters"
    svg = f'<svg role="img" aria-label="{label}" viewBox="0 0 420 150">{"".join(parts)}</svg>'
    return f"<figure><figcaption>{label}</figcaption>{svg}</figure>"
