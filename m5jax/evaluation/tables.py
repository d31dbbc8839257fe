"""The final figures of a run: kept in `summary.json`, shown as the short table that ends it."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from m5jax.errors import UserError
from m5jax.files import write_json

FILE_NAME = "summary.json"
MISSING = "–"
LANGUAGE_HEADERS = ("language", "loss", "accuracy", "unigram", "gain")
METRIC_HEADERS = ("task", "metric", "value")
METRIC_ALIGN = ("left", "left", "right")
LANGUAGE_ALIGN = ("left", "right", "right", "right", "right")


@dataclasses.dataclass(frozen=True)
class LanguageResult:
    """Masked-token results on the held-out data of one language.

    Args:
        loss: mean cross entropy of a masked token, in nats.
        accuracy: share of masked tokens predicted exactly, 0 to 1.
        unigram_accuracy: the same for always predicting the most frequent token of the training data.
        unigram_loss: cross entropy of the token frequencies of the training data, in nats.
        metrics: what the task's own metric functions say, by name.
    """

    loss: float
    accuracy: float
    unigram_accuracy: float | None = None
    unigram_loss: float | None = None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """What is worth knowing of a run a year later; `write_summary` may be called at its start and again at its end.

    Args:
        languages: the final results.
        steps: optimizer steps done.
        parameters: number of model parameters.
        tokens_per_second: real (not padding) tokens; the median over the logged intervals since the last start.
        model_flop_utilization: fraction of the chips' peak, where that is known.
        command: as typed.
        device: chips and their number, e.g. `8 x NVIDIA H100`.
        started, finished: ISO 8601 with time zone; `finished` is None while the run goes on or where it was killed.
        versions: of Python and of each library.
        written: what lies where: a short name and a path.
        began_with: the run and step whose parameters it began with; None: they were drawn.
        flops: of forward and backward of all steps, padding included; None: not known, as of fine-tunings.
    """

    languages: Mapping[str, LanguageResult] = dataclasses.field(default_factory=dict)
    steps: int | None = None
    parameters: int | None = None
    tokens_per_second: float | None = None
    model_flop_utilization: float | None = None
    command: str | None = None
    device: str | None = None
    started: str | None = None
    finished: str | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    written: Mapping[str, str] = dataclasses.field(default_factory=dict)
    began_with: str | None = None
    flops: float | None = None


def write_summary(run_dir: Path, summary: RunSummary) -> Path:
    """Writes `run_dir/summary.json` in one move and returns its path.

    Raises:
        UserError: it cannot be written.
    """
    path = run_dir / FILE_NAME
    write_json(path, dataclasses.asdict(summary))
    return path


def read_summary(run_dir: Path) -> RunSummary:
    """Returns what `run_dir/summary.json` holds, or an empty summary where there is none.

    Raises:
        UserError: the file is not a summary.
    """
    path = run_dir / FILE_NAME
    if not path.exists():
        return RunSummary()
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        languages = {name: LanguageResult(**result) for name, result in fields.pop("languages").items()}
        return RunSummary(languages=languages, **fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not the summary of a run ({error}); remove it or restore it") from error


def format_table(headers: Sequence[str], rows: Sequence[Sequence[str]], align: Sequence[str]) -> str:
    """Returns a plain text table; `align` is `left`, `right` or `center` for each column."""
    return tabulate(rows, headers, tablefmt="simple", colalign=align if rows else None, disable_numparse=True)


def result_tables(languages: Mapping[str, LanguageResult]) -> str:
    """Returns the table per language and, where tasks have metrics of their own, the table of those."""
    tables = [format_table(LANGUAGE_HEADERS, language_rows(languages), LANGUAGE_ALIGN)]
    if own := metric_rows(languages):
        tables.append(format_table(METRIC_HEADERS, own, METRIC_ALIGN))
    return "\n\n".join(tables)


def metric_rows(languages: Mapping[str, LanguageResult]) -> list[list[str]]:
    """Returns the cells under `METRIC_HEADERS`, a row for each metric that a task declares."""
    return [
        [language, name, f"{value:.4f}"]
        for language, result in sorted(languages.items())
        for name, value in result.metrics.items()
    ]


def language_rows(languages: Mapping[str, LanguageResult]) -> list[list[str]]:
    """Returns the cells under `LANGUAGE_HEADERS`, a row a language; the gain is in percentage points."""
    return [
        [
            language,
            f"{result.loss:.3f}",
            f"{result.accuracy:.1%}",
            MISSING if result.unigram_accuracy is None else f"{result.unigram_accuracy:.1%}",
            MISSING if result.unigram_accuracy is None else f"{100 * (result.accuracy - result.unigram_accuracy):+.1f}",
        ]
        for language, result in sorted(languages.items())
    ]


def speed_text(summary: RunSummary) -> str:
    """Returns e.g. `48,210 tokens/s, 41.3% of peak FLOPs`, or a dash where the speed is not known."""
    if summary.tokens_per_second is None:
        return MISSING
    text = f"{summary.tokens_per_second:,.0f} tokens/s"
    if summary.model_flop_utilization is not None:
        text += f", {summary.model_flop_utilization:.1%} of peak FLOPs"
    return text


def run_summary(summary: RunSummary) -> str:
    """Returns what a run prints at its end: the table per language, the speed, and where things were written."""
    facts = [("speed", speed_text(summary)), *summary.written.items()]
    width = max(len(name) for name, _ in facts)
    lines = [f"{name:<{width}}  {value}" for name, value in facts]
    return "\n".join([result_tables(summary.languages), "", *lines])
