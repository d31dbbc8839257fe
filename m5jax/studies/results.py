"""What came of the runs of a study: tables over seeds, and whether differences are chance."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from m5jax.errors import UserError, unknown_name
from m5jax.evaluation.compare import holm
from m5jax.studies.conditions import gin_text, labels_of
from m5jax.studies.definitions import check_definitions
from m5jax.studies.reading import RunReading
from m5jax.studies.statistics import compare, summarize

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class StudiedRun:
    """A run that was read.

    Attributes:
      values: of the axes, by name.
      seed: by which runs of two conditions are paired.
      reading: of its directory.
    """

    values: Mapping[str, Any]
    seed: str
    reading: RunReading


@dataclasses.dataclass(frozen=True)
class StudyResults:
    """The finished runs of a study.

    Attributes:
      axes: names of what differs.
      runs: those that were read.
      left_out: why others were not, by directory.
      baseline: values of the condition that others are compared with; None: the first run's.
    """

    axes: tuple[str, ...]
    runs: tuple[StudiedRun, ...]
    left_out: Mapping[str, str]
    baseline: Mapping[str, Any] | None = None

    def frame(self, *metrics: str, same_metric: bool = True) -> "pd.DataFrame":
        """Returns a row a run: the axes, the seed, the metrics and the directory.

        Args:
          metrics: as `RunReading.value` takes them.
          same_metric: refuse runs that do not measure a metric on the same.

        Raises:
          UserError: there is no run, no run has one of the metrics, or runs measure it on different data.
        """
        import pandas as pd

        if not self.runs:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in list(self.left_out.items())[:3])
            raise UserError(f"the study has no finished run{f' ({reasons})' if reasons else ''}; make its runs first")
        columns: dict[str, list[Any]] = {name: [_cell(run.values[name]) for run in self.runs] for name in self.axes}
        columns["seed"] = [run.seed for run in self.runs]
        for metric in metrics:
            columns[metric] = self._values(metric, same_metric)
        return pd.DataFrame(columns | {"run": [str(run.reading.directory) for run in self.runs]})

    def table(self, *metrics: str, pivot: str = "", same_metric: bool = True) -> "pd.DataFrame":
        """Returns mean, 95% confidence interval and number of runs of each metric under each condition.

        The interval is Student's, over seeds; there is none of one run.

        Args:
          metrics: one or more.
          pivot: an axis whose values become columns, with the means of one metric alone.
          same_metric: see `frame`.

        Raises:
          UserError: as `frame`; or `pivot` is no axis, or there are several metrics with it.
        """
        import pandas as pd

        frame = self.frame(*metrics, same_metric=same_metric)
        axes = list(self.axes)
        groups = frame.groupby(axes, sort=False) if axes else [((), frame)]
        rows, index = [], []
        for values, own in groups:
            index.append(values)
            rows.append([figure for metric in metrics for figure in summarize(own[metric].to_numpy(np.float64))])
        columns = pd.MultiIndex.from_product([metrics, ["mean", "low", "high", "n"]])
        table = pd.DataFrame(rows, columns=columns)
        if axes:
            table.index = _index(index, axes)
        table = table.astype({(metric, "n"): int for metric in metrics})
        return self._pivoted(table, metrics, pivot) if pivot else table

    def significance(
        self, metric: str, *, baseline: Mapping[str, Any] | None = None, same_metric: bool = True
    ) -> "pd.DataFrame":
        """Returns how each condition differs from one of them, and whether that may be chance.

        Runs with the same seeds are paired (Student's t-test of the differences); else Welch's test. p-values are
        corrected for the number of conditions (Holm). Two seeds, or few, seldom show a difference.

        Args:
          metric: one.
          baseline: values of the axes of the condition that the others are compared with; None: the first of the study.
          same_metric: see `frame`.

        Raises:
          UserError: as `frame`; or the baseline has no finished run with the metric, or no other condition has one.
        """
        import pandas as pd

        axes = list(self.axes)
        frame = self.frame(metric, same_metric=same_metric).dropna(subset=[metric])
        grouped = frame.groupby(axes, sort=False) if axes else []
        groups = {values: own.set_index("seed")[metric] for values, own in grouped}
        wanted = self._baseline(baseline)
        if wanted not in groups:
            raise UserError(f"the baseline {self._label(wanted)} has no finished run with {metric}")
        if len(groups) < 2:
            raise UserError("significance is of two conditions or more with finished runs; there is one")
        others = {values: own for values, own in groups.items() if values != wanted}
        rows = [compare(groups[wanted], own) for own in others.values()]
        known = [row["p_value"] for row in rows if not math.isnan(row["p_value"])]
        corrected = iter(holm(known))
        for row in rows:
            row["corrected_p_value"] = math.nan if math.isnan(row["p_value"]) else next(corrected)
            row["baseline"] = self._label(wanted)
        return pd.DataFrame(rows, index=_index(list(others), axes))

    def _baseline(self, given: Mapping[str, Any] | None) -> tuple[Any, ...]:
        for name in given or ():
            if name not in self.axes:
                raise unknown_name("axis", name, self.axes)
        chosen = given or self.baseline or (self.runs[0].values if self.runs else {})
        if missing := [name for name in self.axes if name not in chosen]:
            raise UserError(f"the baseline has no value of {', '.join(missing)}; allowed: a value of each axis")
        return tuple(_cell(chosen[name]) for name in self.axes)

    def _label(self, values: Sequence[Any]) -> str:
        return labels_of([dict(zip(self.axes, values, strict=True))])[0]

    def with_axes(self, axes: Callable[[StudiedRun], Mapping[str, Any]]) -> "StudyResults":
        """Returns the same runs under other axes, such as how the run was made that they begin with.

        Args:
          axes: from a run to the values of its new axes, the same names for all; a value named `seed` becomes the
            run's seed.

        Raises:
          UserError: runs would have different axes.
        """
        found = [dict(axes(run)) for run in self.runs]
        seeds = [str(values.pop("seed", run.seed)) for values, run in zip(found, self.runs, strict=True)]
        names = list(found[0]) if found else []
        if other := next((values for values in found if list(values) != names), None):
            raise UserError(f"runs would have the axes {', '.join(names)} and {', '.join(other)}; allowed: the same")
        renamed = zip(found, seeds, self.runs, strict=True)
        runs = tuple(StudiedRun(values, seed, run.reading) for values, seed, run in renamed)
        return StudyResults(tuple(names), runs, self.left_out)

    def to_latex(self, *metrics: str, digits: int = 3, same_metric: bool = True) -> str:
        """Returns the table as LaTeX (booktabs): mean and half of the confidence interval of each metric, and runs."""
        from m5jax.studies.tables import latex_table

        return latex_table(self, self.table(*metrics, same_metric=same_metric), metrics, digits)

    def to_mlflow(self, experiment: str, tracking_uri: str = "") -> int:
        """Logs the runs that MLflow does not have yet; see `m5jax.studies.mlflow_log.log_to_mlflow`."""
        from m5jax.studies.mlflow_log import log_to_mlflow

        return log_to_mlflow(self, experiment, tracking_uri)

    def plot(self, kind: str, *metrics: str, **options: Any) -> "Figure":
        """Returns a picture; see `m5jax.studies.plots`.

        Args:
          kind: "curves" of a metric over steps, a "heat_map" of one, or "pareto" of a metric and a cost.
          metrics: one, and of "pareto" the cost after it.
          options: of the function that draws it.

        Raises:
          UserError: there is no such kind, or too few or many metrics; or as the function.
        """
        from m5jax.studies import plots

        kinds: dict[str, tuple[Callable[..., Figure], int]] = {
            "curves": (plots.plot_curves, 1),
            "heat_map": (plots.plot_heat_map, 1),
            "pareto": (plots.plot_pareto, 2),
        }
        if kind not in kinds:
            raise unknown_name("kind of plot", kind, kinds)
        draw, count = kinds[kind]
        if len(metrics) != count:
            raise UserError(f"{kind} is of {count} metric{'s' if count > 1 else ''}; {len(metrics)} are given")
        return draw(self, *metrics, **options)

    def _values(self, metric: str, same_metric: bool) -> list[float]:
        values = [run.reading.value(metric) for run in self.runs]
        if all(value is None for value in values):
            known = sorted(set().union(*(run.reading.metrics() for run in self.runs)))
            raise unknown_name("metric of a study", metric, known)
        if same_metric:
            having = [run.reading for run, value in zip(self.runs, values, strict=True) if value is not None]
            check_definitions(having, metric)
        return [math.nan if value is None else value for value in values]

    def _pivoted(self, table: "pd.DataFrame", metrics: Sequence[str], pivot: str) -> "pd.DataFrame":
        if pivot not in self.axes:
            raise unknown_name("axis", pivot, self.axes)
        if len(metrics) != 1:
            raise UserError(f"pivot={pivot} is of one metric; {len(metrics)} are given")
        means = table[metrics[0], "mean"]
        return means.unstack(pivot, sort=False) if len(self.axes) > 1 else means.to_frame().T


def _index(values: Sequence[tuple[Any, ...]], axes: Sequence[str]) -> "pd.Index[Any]":
    """Returns the index of a table of conditions."""
    import pandas as pd

    if len(axes) == 1:
        return pd.Index([own for (own,) in values], name=axes[0])
    return pd.MultiIndex.from_tuples(values, names=axes)


def _cell(value: Any) -> Any:
    """Returns a value as a table can hold it."""
    return value if isinstance(value, bool | int | float | str) else gin_text(value)
