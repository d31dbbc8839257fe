"""Tables of a study as text and as files."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m5jax.evaluation.tables import MISSING, format_table
from m5jax.files import check_new, write_whole
from m5jax.studies.conditions import short_name, short_value
from m5jax.studies.results import StudyResults

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".csv", ".md", ".tex")


def table_text(results: StudyResults, metrics: Sequence[str]) -> str:
    """Returns a table for a terminal: mean and interval of each metric, and the number of runs."""
    headers, rows = _cells(results, metrics)
    return format_table(headers, rows, ["left"] * len(results.axes) + ["right"] * (len(headers) - len(results.axes)))


def write_table(results: StudyResults, metrics: Sequence[str], path: Path) -> None:
    """Writes the table as CSV (with full figures), Markdown or LaTeX, by the end of the file's name.

    Raises:
      UserError: the file exists, has another ending, or cannot be written.
    """
    check_new(path, FORMATS)
    if path.suffix == ".csv":
        table = results.table(*metrics)
        table.columns = [f"{metric} {figure}" for metric, figure in table.columns]
        text = table.to_csv(index=bool(results.axes))
    elif path.suffix == ".tex":
        text = results.to_latex(*metrics)
    else:
        headers, rows = _cells(results, metrics)
        text = "".join(f"| {' | '.join(row)} |\n" for row in [headers, ["---"] * len(headers), *rows])
    write_whole(path, text)


def _cells(results: StudyResults, metrics: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    table = results.table(*metrics)
    headers = [*map(short_name, results.axes), *metrics, "n"]
    rows = []
    for index, row in table.iterrows():
        values = (index if isinstance(index, tuple) else (index,)) if results.axes else ()
        counts = "/".join(dict.fromkeys(str(int(row[metric, "n"])) for metric in metrics))
        rows.append([*map(short_value, values), *(_figure(row[metric]) for metric in metrics), counts])
    return headers, rows


def _figure(row: "pd.Series[float]") -> str:
    if math.isnan(row["mean"]):
        return MISSING
    interval = "" if math.isnan(row["low"]) else f" ± {row['high'] - row['mean']:.2g}"
    return f"{row['mean']:.4g}{interval}"
