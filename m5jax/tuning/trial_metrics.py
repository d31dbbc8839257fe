"""What a trial's run has written so far, and whether it is worth going on."""

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from m5jax.errors import UserError, unknown_name
from m5jax.training.run_log import FILE_NAME, FINITE, RESERVED, read_metrics

if TYPE_CHECKING:
    from optuna import Trial

EVALUATION = "evaluation/"


@dataclasses.dataclass(frozen=True)
class TrialMetrics:
    """The history of a run, as far as a study needs it.

    Attributes:
      values: of the metric by step, in the order written.
      newest_step: of any line; -1: there is none.
      names: of all that was written.
      diverged: the first of loss, gradient and metric that was not finite, with its step; empty: all were.
    """

    values: dict[int, float]
    newest_step: int
    names: frozenset[str]
    diverged: str


def read_trial_metrics(run_dir: Path, metric: str) -> TrialMetrics:
    """Returns what `run_dir/metrics.jsonl` holds; nothing where it is missing.

    Raises:
      UserError: it is broken, or holds an evaluation, which is written whole, and not the metric, one of evaluations.
    """
    rows = read_metrics(run_dir) if (run_dir / FILE_NAME).exists() else []
    finite = (*(f"train/{name}" for name in FINITE), metric)
    values: dict[int, float] = {}
    names: set[str] = set()
    diverged = ""
    for row in rows:
        names |= row.keys()
        if metric in row:
            values.setdefault(row["step"], row[metric])
        infinite = [name for name in finite if not math.isfinite(row.get(name, 0.0))]
        if infinite and not diverged:
            diverged = f"{infinite[0]} is {row[infinite[0]]} at step {row['step']}"
    if not values and metric.startswith(EVALUATION) and any(name.startswith(EVALUATION) for name in names):
        raise unknown_metric(run_dir, metric, names)
    return TrialMetrics(values, max((row["step"] for row in rows), default=-1), frozenset(names), diverged)


def unknown_metric(run_dir: Path, metric: str, names: Iterable[str]) -> UserError:
    """Returns the error of a run that does not write the metric."""
    return unknown_name(f"metric of {run_dir / FILE_NAME}", metric, set(names) - set(RESERVED))


class Judge:
    """Reports the values of a trial to its study and asks its pruner.

    A value is reported once the run has gone on past its step, and then judged at once. So what is pruned does not
    depend on how often, or how late, the history is read; and no run is pruned for the value it ends with.

    Args:
      trial: that runs.
      reported: steps whose values the study knows already. The last may have been reported without having been judged.
    """

    def __init__(self, trial: "Trial", reported: Iterable[int]):
        self._trial = trial
        self._reported = set(reported)
        self._judged = max(self._reported, default=0) - 1

    def goes_on(self, metrics: TrialMetrics) -> bool:
        """Returns whether the trial is worth going on."""
        for step, value in metrics.values.items():
            if not self._judged < step < metrics.newest_step:
                continue
            self._report(step, value)
            self._judged = step
            if self._trial.should_prune():
                return False
        return True

    def ended(self, metrics: TrialMetrics) -> None:
        """Reports the value with which the run ended."""
        self._report(*list(metrics.values.items())[-1])

    def _report(self, step: int, value: float) -> None:
        if step not in self._reported:
            self._trial.report(value, step)
            self._reported.add(step)
