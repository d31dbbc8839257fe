"""An HTML page without scripts and links, so that it opens anywhere and a year later."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

# Distinct for the color-blind and on a light as on a dark page (after Okabe and Ito, 2008).
PALETTE = ("#0a84c8", "#e07b00", "#0a9e73", "#d0609f", "#8a6fdf", "#b59b00", "#3cb4d9", "#d6453d")
_STYLE_SHEET = """
:root { color-scheme: light dark; --page: #fff; --ink: #1c2024; --soft: #60646c; --line: #d9dce1; --panel: #f6f7f9 }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181b; --ink: #e8eaed; --soft: #a0a6ae; --line: #363a40; --panel: #1f2226 }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.2; overflow-wrap: anywhere }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem }
h2 + dl { margin: 0 }
p, figcaption, th, dt { color: var(--soft) }
p { margin: .4rem 0 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .4rem 1.2rem .4rem 0; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
th { font-weight: 500 }
.wide { overflow-x: auto }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem }
figure { margin: 0; padding: .8rem; border: 1px solid var(--line); border-radius: 8px; background: var(--panel) }
figcaption { margin-bottom: .3rem }
svg { display: block; width: 100%; height: auto }
.drawing { fill: var(--ink); font: 11px system-ui, sans-serif }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 10rem), 1fr)); gap: .7rem 1.5rem;
  margin: 1rem 0 0 }
dt { font-size: .85rem }
dd { margin: 0; overflow-wrap: anywhere }
pre { margin: 0; padding: 1rem; overflow-x: auto; border: 1px solid var(--line); border-radius: 8px;
  background: var(--panel); font: 13px/1.5 ui-monospace, monospace }
"""


def html_page(title: str, body: Iterable[str]) -> str:
    """Returns the page with the parts of its body, which are HTML, below one another; empty ones are left out."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE_SHEET}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def html_section(title: str, content: str) -> str:
    """Returns HTML content under its title; nothing where there is none."""
    return f"<h2>{escape(title)}</h2>\n{content}" if content else ""


def html_definitions(values: Mapping[str, str]) -> str:
    """Returns names with what they stand for; nothing where there is none."""
    pairs = (f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in values.items())
    return f"<dl>{''.join(pairs)}</dl>" if values else ""


def html_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table of texts."""

    def cells(tag: str, texts: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts) + "</tr>"

    return f'<div class="wide"><table>{cells("th", headers)}{"".join(cells("td", row) for row in rows)}</table></div>'
