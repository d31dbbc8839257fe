"""Tables of a study as text and as files."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m5jax.evaluation.tables import MISSING, format_table
from m5jax.files import check_new, write_whole
from m5jax.studies.conditions import short_names, short_values
from m5jax.studies.results import StudyResults

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".csv", ".json", ".md", ".tex")


def table_text(results: StudyResults, metrics: Sequence[str], *, same_metric: bool = True) -> str:
    """Returns a table for a terminal: mean and interval of each metric, and the number of runs."""
    headers, rows = _cells(results, metrics, same_metric)
    return format_table(headers, rows, ["left"] * len(results.axes) + ["right"] * (len(headers) - len(results.axes)))


def write_table(results: StudyResults, metrics: Sequence[str], path: Path, *, same_metric: bool = True) -> None:
    """Writes the table as CSV (with full figures), Markdown or LaTeX, by the end of the file's name; as JSON each run.

    Raises:
      UserError: the file exists, has another ending, or cannot be written.
    """
    check_new(path, FORMATS)
    if path.suffix == ".csv":
        table = results.table(*metrics, same_metric=same_metric)
        table.columns = [f"{metric} {figure}" for metric, figure in table.columns]
        text = table.to_csv(index=bool(results.axes))
    elif path.suffix == ".json":
        text = json.dumps(runs_as_json(results, metrics, same_metric=same_metric), indent=2) + "\n"
    elif path.suffix == ".tex":
        text = results.to_latex(*metrics, same_metric=same_metric)
    else:
        headers, rows = _cells(results, metrics, same_metric)
        text = "".join(f"| {' | '.join(row)} |\n" for row in [headers, ["---"] * len(headers), *rows])
    write_whole(path, text)


def runs_as_json(results: StudyResults, metrics: Sequence[str], *, same_metric: bool = True) -> dict[str, Any]:
    """Returns the values of each run, what made it, and what was left out, to be kept where run directories are not."""
    frame = results.frame(*metrics, same_metric=same_metric).astype(object)
    rows = frame.where(frame.notna(), None).to_dict("records")
    runs = [
        {
            **{str(name): value for name, value in row.items()},
            "run": run.reading.directory.name,
            "steps": run.reading.summary.steps,
            "parameters": run.reading.summary.parameters,
            "device": run.reading.summary.device,
        }
        for row, run in zip(rows, results.runs, strict=True)
    ]
    left_out = {Path(directory).name: reason for directory, reason in results.left_out.items()}
    versions = dict(results.runs[0].reading.summary.versions)
    return {
        "axes": list(results.axes),
        "metrics": list(metrics),
        "versions": versions,
        "runs": runs,
        "left_out": left_out,
    }


def latex_table(results: StudyResults, table: "pd.DataFrame", metrics: Sequence[str], digits: int) -> str:
    """Returns a table of `StudyResults.table` as LaTeX (booktabs)."""
    headers = [*short_names(results.axes), *metrics, "n"]
    body = [
        [
            *map(_escaped, values),
            *(_latex_figure(row[metric], digits) for metric in metrics),
            counts(row, metrics),
        ]
        for values, (_, row) in zip(shown_conditions(results, table), table.iterrows(), strict=True)
    ]
    columns = "l" * len(results.axes) + "r" * (len(metrics) + 1)
    lines = [[*map(_escaped, headers)], *body]
    head, *rows = (" & ".join(cells) + r" \\" for cells in lines)
    begin, end = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"], [r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join([*begin, head, r"\midrule", *rows, *end])


def _latex_figure(row: "pd.Series[float]", digits: int) -> str:
    if math.isnan(row["mean"]):
        return "--"
    half = "" if math.isnan(row["low"]) else rf" \pm {row['high'] - row['mean']:.{digits}f}"
    return f"${row['mean']:.{digits}f}{half}$"


_LATEX = str.maketrans(
    {letter: f"\\{letter}" for letter in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


def _escaped(text: str) -> str:
    return text.translate(_LATEX)


def _cells(results: StudyResults, metrics: Sequence[str], same_metric: bool) -> tuple[list[str], list[list[str]]]:
    table = results.table(*metrics, same_metric=same_metric)
    headers = [*short_names(results.axes), *metrics, "n"]
    rows = [
        [*values, *(_figure(row[metric]) for metric in metrics), counts(row, metrics)]
        for values, (_, row) in zip(shown_conditions(results, table), table.iterrows(), strict=True)
    ]
    return headers, rows


def shown_conditions(results: StudyResults, table: "pd.DataFrame") -> list[tuple[str, ...]]:
    """Returns the values of the axes of each row of a table, in short."""
    columns = [short_values(table.index.get_level_values(name).tolist()) for name in results.axes]
    return list(zip(*columns, strict=True)) if columns else [()] * len(table)


def counts(row: "pd.Series[float]", metrics: Sequence[str]) -> str:
    """Returns the number of runs of each metric in a row; one where it is the same."""
    return "/".join(dict.fromkeys(str(int(row[metric, "n"])) for metric in metrics))


def _figure(row: "pd.Series[float]") -> str:
    if math.isnan(row["mean"]):
        return MISSING
    interval = "" if math.isnan(row["low"]) else f" ± {row['high'] - row['mean']:.2g}"
    return f"{row['mean']:.4g}{interval}"
