"""What a run directory says of its run: whether it is finished, its configuration, its metrics."""

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

from m5jax.configuration.fine_tuned_result import read_result
from m5jax.configuration.run_files import CONFIG
from m5jax.errors import UserError
from m5jax.evaluation.report_data import read_report_data
from m5jax.evaluation.reports import EVALUATIONS
from m5jax.evaluation.tables import RunSummary, read_summary
from m5jax.training.run_log import FILE_NAME as METRICS
from m5jax.training.run_log import RESERVED, read_metrics

_BINDING = re.compile(r"^([\w./]+) = ?(.*)$")


@dataclasses.dataclass(frozen=True)
class RunReading:
    """A run, read from its directory.

    Attributes:
      directory: of the run.
      summary: of what it is.
      rows: the lines of its `metrics.jsonl`.
      kept_step: of the checkpoint that counts: of a fine-tuning the best, else the last; None: it has not ended.
    """

    directory: Path
    summary: RunSummary
    rows: list[dict[str, Any]]
    kept_step: int | None

    @property
    def is_finished(self) -> bool:
        return self.summary.finished is not None

    @functools.cached_property
    def config(self) -> dict[str, str]:
        """Every value that gin bound, as text, by the name of its parameter."""
        return read_config(self.directory / CONFIG)

    def value(self, metric: str) -> float | None:
        """Returns a metric of the checkpoint that counts; None where the run has none.

        Args:
          metric: a name of `metrics.jsonl` such as `evaluation/en/loss`; `evaluations/NAME/GROUP/METRIC` of a report
            that `m5jax evaluate` wrote, where the run itself, among other systems, is the group `run`; or a number of
            the summary, such as `summary/tokens_per_second`.

        Raises:
          UserError: a report is damaged.
        """
        if metric.startswith("evaluations/"):
            return self._of_report(metric)
        if metric.startswith("summary/"):
            found = getattr(self.summary, metric.partition("/")[2], None)
            return float(found) if isinstance(found, int | float) else None
        steps, values = self.curve(metric)
        kept = [value for step, value in zip(steps, values, strict=True) if self._counts(step)]
        return kept[-1] if kept else None

    def curve(self, metric: str) -> tuple[list[int], list[float]]:
        """Returns the steps with a value of the metric, and the values; of a step written twice the later one."""
        values = {row["step"]: row[metric] for row in self.rows if metric in row}
        return list(values), list(values.values())

    def metrics(self) -> set[str]:
        """Returns the names of all metrics that `value` knows of this run, but those of the summary."""
        names = {name for row in self.rows for name in row} - set(RESERVED)
        for folder in sorted((self.directory / EVALUATIONS).glob("[!.]*")):
            for group in read_report_data(folder).groups:
                names |= {f"evaluations/{folder.name}/{self._group(group.name)}/{metric}" for metric in group.metrics}
        return names

    def _group(self, name: str) -> str:
        """Returns the name of a group of a report, the same for the same group of each run."""
        own = self.directory.resolve().name
        return f"run{name.removeprefix(own)}" if name == own or name.startswith(f"{own} ") else name

    def _counts(self, step: int) -> bool:
        return self.kept_step is None or step <= self.kept_step

    def _of_report(self, metric: str) -> float | None:
        _, evaluation, rest = metric.split("/", 2)
        group, _, name = rest.rpartition("/")
        folder = self.directory / EVALUATIONS / evaluation
        if not folder.is_dir():
            return None
        for found in read_report_data(folder).groups:
            if self._group(found.name) == group and name in found.metrics:
                return found.metrics[name].value
        return None


def read_run(directory: Path) -> RunReading:
    """Returns what a run directory says.

    Raises:
      UserError: it is none, or its files are missing or damaged; the message names the file.
    """
    if not (directory / CONFIG).is_file():
        raise UserError(f"{directory} is no run directory: it has no {CONFIG}")
    if not (directory / METRICS).is_file():
        raise UserError(f"{directory} has no {METRICS}")
    summary, result = read_summary(directory), read_result(directory)
    rows = read_metrics(directory)
    kept = summary.steps if result is None else result.step
    evaluated = [row["step"] for row in rows if any(name.startswith("evaluation/") for name in row)]
    # What is measured at the end, or at the best checkpoint, is written before the run is finished.
    if summary.finished is not None and kept not in evaluated:
        raise UserError(f"{directory / METRICS} is half written: it has no evaluation of step {kept}")
    return RunReading(directory, summary, rows, kept)


def read_config(path: Path) -> dict[str, str]:
    """Returns the values of parameters in a `config.gin` as m5jax writes it, as texts, and those of macros that no
    parameter has.

    Much faster than gin, which checks what was checked when the run began.
    """
    bindings: dict[str, str] = {}
    name = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := _BINDING.match(line):
            name = found[1]
            bindings[name] = found[2].removesuffix("\\").strip()
        elif line[:1].isspace() and name:
            bindings[name] = f"{bindings[name]} {line.strip()}".strip()
    used = {value.removeprefix("%") for value in bindings.values() if value.startswith("%")}
    return {
        name: bindings.get(value.removeprefix("%"), value) if value.startswith("%") else value
        for name, value in bindings.items()
        if name not in used
    }
