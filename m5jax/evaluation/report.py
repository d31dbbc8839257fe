"""The report of a run: one HTML file.

Everything that comes from the run directory is untrusted text: `html.escape` guards the HTML, Matplotlib the pictures.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m5jax.errors import UserError
from m5jax.evaluation.figures import INK, figure_settings, inline_svg
from m5jax.evaluation.filled_texts import FILLS, FilledTexts, read_filled
from m5jax.evaluation.tables import (
    LANGUAGE_HEADERS,
    METRIC_HEADERS,
    LanguageResult,
    RunSummary,
    language_rows,
    metric_rows,
    read_summary,
    speed_text,
)
from m5jax.html_page import PALETTE, html_definitions, html_page, html_section, html_table
from m5jax.training.run_log import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]

FILE_NAME = "report.html"
CONFIG_NAME = "config.gin"
CHARTS = {
    "train/loss": "Training loss",
    "train/learning_rate": "Learning rate",
    "train/gradient_norm": "Gradient norm before clipping",
    "train/weight_norm": "Norm of the trained weights",
    "speed/tokens_per_second": "Tokens per second",
}
EVALUATIONS = {"accuracy": "Masked-token accuracy on held-out data", "loss": "Loss on held-out data (nats per token)"}
# Of a language or task each, in one chart.
LABELLED_CHARTS = {
    r"train/(?P<label>.+)/loss": "Training loss of each language or task",
    r"mixture/(?P<label>.+)": "Share of predicted tokens",
}
EVALUATION_NAME = re.compile(r"evaluation/(?P<language>.+)/(?P<metric>[^/]+)")

# A chart is some hundred pixels wide: more points only make the file heavy.
MAXIMUM_POINTS = 600
RUN_STYLES = ("solid", "dashed", "dashdot")


def write_report(run_dir: Path) -> Path:
    """Writes `run_dir/report.html` from `metrics.jsonl` and, where they are there, `summary.json` and `config.gin`.

    Raises:
        UserError: there are no metrics, a file cannot be read, or the report cannot be written.
    """
    rows = read_metrics(run_dir)
    summary = read_summary(run_dir)
    config = _read_config(run_dir / CONFIG_NAME)
    newest = _newest_evaluation(rows)
    languages = summary.languages or _language_results(newest)
    title = f"Run {run_dir.resolve().name}"
    body = [
        f"<p>{escape(_headline(rows, summary))}</p>",
        html_definitions(_macros(config)),
        html_section("Results per language" if languages else "Results", _results(languages, newest)),
        html_section("Data seen", _mixture(rows)),
        html_section("Masked texts", _filled(read_filled(run_dir))),
        html_section("Curves", f'<div class="charts">{"".join(_charts(rows, languages))}</div>'),
        html_section("Where it ran", html_definitions(_circumstances(summary))),
        html_section("Command", f"<pre>{escape(summary.command)}</pre>" if summary.command else ""),
        html_section("Versions", html_definitions(summary.versions)),
        html_section("Configuration", f"<pre>{escape(config)}</pre>" if config else ""),
    ]
    path = run_dir / FILE_NAME
    try:
        path.write_text(html_page(title, body), encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def plot_curves(run_dirs: Sequence[Path], path: Path) -> Path:
    """Writes a picture of held-out accuracy and loss per language over the steps; returns `path`.

    The format is the one of the path's suffix (.png, .svg, .pdf). The unigram baseline is dotted. Several runs share
    the colors of the languages and differ in the style of their lines.

    Raises:
        UserError: a run has no metrics, or the picture cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(figure_settings("#1c2024")):
        figure = Figure(figsize=(10, 3.8), layout="constrained", facecolor="white")
        for axes, (metric, title) in zip(figure.subplots(1, 2), EVALUATIONS.items(), strict=True):
            for index, run_dir in enumerate(run_dirs):
                rows, languages = read_metrics(run_dir), read_summary(run_dir).languages
                prefix = f"{run_dir.resolve().name} · " if len(run_dirs) > 1 else ""
                _plot_evaluation(axes, rows, metric, languages, prefix, RUN_STYLES[index % len(RUN_STYLES)])
            axes.set_title(title, loc="left", fontsize=11)
        try:
            figure.savefig(path, dpi=160)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot write {path}: {error}") from error
    return path


def _read_config(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _newest_evaluation(rows: Rows) -> dict[str, dict[str, float]]:
    """Returns the newest metrics by language, or name of the data."""
    results: dict[str, dict[str, float]] = {}
    for row in rows:
        for name, value in row.items():
            if match := EVALUATION_NAME.fullmatch(name):
                results.setdefault(match["language"], {})[match["metric"]] = value
    return results


def _language_results(newest: Mapping[str, Mapping[str, float]]) -> dict[str, LanguageResult]:
    """Returns what stands for the final results of a run that wrote none; empty for a fine-tuning, which has others."""
    results = {}
    for language, found in newest.items():
        if EVALUATIONS.keys() <= found.keys():
            own = {name: value for name, value in found.items() if name not in EVALUATIONS}
            results[language] = LanguageResult(found["loss"], found["accuracy"], metrics=own)
    return results


def _headline(rows: Rows, summary: RunSummary) -> str:
    steps = summary.steps if summary.steps is not None else max((row["step"] for row in rows), default=0)
    parts = [f"{steps:,} steps"]
    if summary.parameters is not None:
        parts.append(f"{summary.parameters:,} parameters")
    if summary.tokens_per_second is not None:
        parts.append(speed_text(summary))
    if summary.device:
        parts.append(summary.device)
    if summary.started and not summary.finished:
        parts.append("not finished when this was written")
    return " · ".join(parts)


def _macros(config: str) -> dict[str, str]:
    """The capitalized names that a gin file assigns on one line: what its author meant to be looked at first."""
    return dict(re.findall(r"^([A-Z][A-Z0-9_]*) *= *(\S.*?) *$", config, flags=re.MULTILINE))


def _circumstances(summary: RunSummary) -> dict[str, str]:
    found = {
        "Began with": summary.began_with,
        "Device": summary.device,
        "Started": _readable_time(summary.started),
        "Finished": _readable_time(summary.finished),
    }
    return {name: value for name, value in found.items() if value}


def _readable_time(time: str | None) -> str | None:
    try:
        return datetime.fromisoformat(time).strftime("%Y-%m-%d %H:%M:%S %Z").strip() if time else None
    except ValueError:
        return time


def _results(languages: Mapping[str, LanguageResult], newest: Mapping[str, Mapping[str, float]]) -> str:
    if not languages:
        rows = [[name, metric, f"{value:.4f}"] for name, own in newest.items() for metric, value in own.items()]
        return html_table(("data", *METRIC_HEADERS[1:]), rows) if rows else "<p>No evaluation was made.</p>"
    note = (
        "Loss in nats per masked token; accuracy: masked tokens predicted exactly; unigram: accuracy of always "
        "predicting the most frequent token; gain in percentage points."
    )
    table = f"{html_table(LANGUAGE_HEADERS, language_rows(languages))}<p>{note}</p>"
    own = metric_rows(languages)
    return table + (html_table(METRIC_HEADERS, own) if own else "")


def _mixture(rows: Rows) -> str:
    """Returns the share of predicted tokens of each language or task over the whole run; empty where there is one."""
    means = {
        name.removeprefix("mixture/"): np.mean([row[name] for row in rows if name in row])
        for name in dict.fromkeys(name for row in rows for name in row if name.startswith("mixture/"))
    }
    shares = [[name, f"{mean:.1%}"] for name, mean in means.items()]
    return html_table(("task", "predicted tokens"), shares) if shares else ""


def _filled(labels: FilledTexts) -> str:
    """Returns masked texts with their likeliest fills."""
    headers = ("", "stood there", *(f"fill {number}" for number in range(1, FILLS + 1)))
    parts = []
    for label, texts in labels.items():
        for text in texts:
            rows = [
                [f"[{number}]", blank.hidden, *(f"{fill} {share:.0%}" for fill, share in blank.fills)]
                for number, blank in enumerate(text.blanks, start=1)
            ]
            parts.append(f"<p>{escape(label)}: {escape(text.text)}</p>{html_table(headers, rows)}")
    return "".join(parts)


def _charts(rows: Rows, languages: Mapping[str, LanguageResult]) -> list[str]:
    """Returns one `<figure>` a chart, evaluation first; charts without a value are left out."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    charts = []
    with rc_context(figure_settings(INK)):
        for name, title in {**_evaluation_charts(rows, languages), **LABELLED_CHARTS, **CHARTS}.items():
            figure = Figure(figsize=(5.0, 2.9), layout="constrained")
            axes = figure.subplots()
            if name in LABELLED_CHARTS:
                _plot_labelled(axes, rows, name)
            elif name not in CHARTS:
                _plot_evaluation(axes, rows, name, languages)
            else:
                _plot(axes, rows, name, color=PALETTE[0])
            if name == "speed/tokens_per_second":
                axes.set_ylim(bottom=0)  # else the axis shows nothing but its noise
                axes.yaxis.set_major_formatter("{x:,.0f}")
            if axes.lines:
                charts.append(f"<figure><figcaption>{title}</figcaption>{inline_svg(figure, title, name)}</figure>")
    return charts


def _evaluation_charts(rows: Rows, languages: Mapping[str, LanguageResult]) -> dict[str, str]:
    """Returns the titles of charts of evaluations by metric."""
    matches = (EVALUATION_NAME.fullmatch(name) for row in rows for name in row)
    found = dict.fromkeys(match["metric"] for match in matches if match)
    own = {name: name.replace("_", " ") for name in found if not languages or name not in EVALUATIONS}
    return {**(EVALUATIONS if languages else {}), **own}


def _plot_evaluation(
    axes: "Axes",
    rows: Rows,
    metric: str,
    languages: Mapping[str, LanguageResult],
    prefix: str = "",
    style: str = "solid",
) -> None:
    matches = (EVALUATION_NAME.fullmatch(name) for row in rows for name in row)
    for index, language in enumerate(sorted({match["language"] for match in matches if match})):
        color = PALETTE[index % len(PALETTE)]
        _plot(axes, rows, f"evaluation/{language}/{metric}", color, f"{prefix}{language}", style)
        baseline = getattr(languages.get(language), f"unigram_{metric}", None)
        if baseline is not None:
            axes.axhline(baseline, color=color, linestyle="dotted", linewidth=1.3)
    if metric == "accuracy":
        from matplotlib.ticker import PercentFormatter

        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_ylim(bottom=0)
    if axes.lines:
        if any(line.get_linestyle() == ":" for line in axes.lines) and not prefix:
            axes.plot([], [], color="#888888", linestyle="dotted", linewidth=1.3, label="unigram baseline")
        axes.legend(ncols=2, fontsize="small", frameon=False)


def _plot_labelled(axes: "Axes", rows: Rows, pattern: str) -> None:
    matches = (re.fullmatch(pattern, name) for row in rows for name in row)
    names = {match["label"]: match[0] for match in matches if match}
    for index, label in enumerate(sorted(names)):
        _plot(axes, rows, names[label], PALETTE[index % len(PALETTE)], label)
    if axes.lines:
        axes.legend(ncols=2, fontsize="small", frameon=False)


def _plot(axes: "Axes", rows: Rows, name: str, color: str, label: str = "", style: str = "solid") -> None:
    steps, values = _curve(rows, name)
    if not len(steps):
        return
    few = len(steps) <= 20
    axes.plot(
        steps,
        values,
        color=color,
        label=label or None,
        linestyle=style,
        linewidth=1.6 if few else 1.1,
        marker="o" if few else "",
        markersize=3,
    )
    axes.set_xlabel("step")


def _curve(rows: Rows, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns steps and values, [points] each; a long history as means of equal runs of reports."""
    points = np.array([(row["step"], row[name]) for row in rows if name in row], dtype=np.float64).reshape(-1, 2)
    # An infinity would stretch the axis to nothing; as NaN it is a gap.
    points[~np.isfinite(points)] = np.nan
    if len(points) > MAXIMUM_POINTS:
        points = np.stack([part.mean(axis=0) for part in np.array_split(points, MAXIMUM_POINTS)])
    return points[:, 0], points[:, 1]
