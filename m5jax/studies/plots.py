"""Pictures of a study: curves over steps, a heat map of two axes, quality against cost."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m5jax.errors import UserError
from m5jax.evaluation.figures import figure_settings
from m5jax.evaluation.metrics.names import LESS_IS_BETTER
from m5jax.files import check_new
from m5jax.studies.conditions import labels_of, short_names, short_values
from m5jax.studies.results import StudiedRun, StudyResults
from m5jax.studies.statistics import summarize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
_COLORS, _LINES = 10, ("solid", "dashed")
_MOST_CURVES = _COLORS * len(_LINES)
_INK = "black"


def plot_curves(results: StudyResults, metric: str, *, same_metric: bool = True) -> "Figure":
    """Returns a line a condition of a metric of `metrics.jsonl` over training steps: the mean over seeds, with its 95%
    confidence interval at steps that all of them have.

    Raises:
      UserError: as `StudyResults.frame`; the metric is none of steps; or there are more conditions than can be told
        apart.
    """
    results.frame(metric, same_metric=same_metric)
    groups = {label: _curves(runs, metric) for label, runs in _by_condition(results).items()}
    if not any(groups.values()):
        raise UserError(f"{metric} is no curve; allowed: metrics of metrics.jsonl, such as evaluation/en/loss")
    if len(groups) > _MOST_CURVES:
        raise UserError(f"{len(groups)} curves in one picture; allowed: {_MOST_CURVES} conditions, or a heat map")
    figure, axes = _figure((7.0, 4.2))
    for number, (label, curves) in enumerate(groups.items()):
        steps = sorted(set.intersection(*map(set, curves))) if curves else []
        if not steps:
            continue
        figures = np.array([summarize(np.array([curve[step] for curve in curves]))[:3] for step in steps])
        style = _LINES[number // _COLORS]
        (line,) = axes.plot(steps, figures[:, 0], label=label, color=f"C{number % _COLORS}", linestyle=style)
        axes.fill_between(steps, figures[:, 1], figures[:, 2], color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set(xlabel="step", ylabel=metric)
    if any(groups):
        axes.legend(frameon=False, fontsize="small")
    return figure


def _curves(runs: Sequence[StudiedRun], metric: str) -> list[dict[int, float]]:
    """Returns values by step, of the runs that have any."""
    curves = (dict(zip(*run.reading.curve(metric), strict=True)) for run in runs)
    return [curve for curve in curves if curve]


def plot_heat_map(results: StudyResults, metric: str, *, same_metric: bool = True) -> "Figure":
    """Returns the means of a metric under the conditions of two axes.

    Raises:
      UserError: as `StudyResults.frame`; or there are not two axes.
    """
    if len(results.axes) != 2:
        raise UserError(f"a heat map is of two axes; the study has {len(results.axes)}")
    means = results.table(metric, pivot=results.axes[1], same_metric=same_metric)
    figure, axes = _figure((1.6 + 0.9 * means.shape[1], 1.4 + 0.6 * means.shape[0]))
    image = axes.imshow(means.to_numpy(float), aspect="auto", cmap="viridis")
    axes.grid(visible=False)
    for row, column in np.ndindex(means.shape):
        value = means.iat[row, column]
        if not math.isnan(value):
            shade = image.norm(value)
            axes.text(column, row, f"{value:.3g}", ha="center", va="center", color="black" if shade > 0.6 else "white")
    axes.set_xticks(range(means.shape[1]), short_values(means.columns.tolist()))
    axes.set_yticks(range(means.shape[0]), short_values(means.index.tolist()))
    ylabel, xlabel = short_names(results.axes)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=metric)
    return figure


def plot_pareto(
    results: StudyResults, metric: str, cost: str, *, lower_is_better: bool | None = None, same_metric: bool = True
) -> "Figure":
    """Returns a point a condition, mean quality against mean cost, and a line through those that no other condition
    beats in both.

    Args:
      results: of the study.
      metric: the quality.
      cost: a metric too, such as `summary/parameters`; less is better.
      lower_is_better: of the quality; None: as its name says, such as of a loss.
      same_metric: as for `StudyResults.frame`.

    Raises:
      UserError: as `StudyResults.frame`.
    """
    table = results.table(metric, cost, same_metric=same_metric).dropna(subset=[(metric, "mean"), (cost, "mean")])
    qualities, costs = (table[name, "mean"].to_numpy() for name in (metric, cost))
    if lower_is_better is None:
        lower_is_better = metric.rpartition("/")[2] in LESS_IS_BETTER
    best = frontier(costs, -qualities if lower_is_better else qualities)
    figure, axes = _figure((7.0, 4.2))
    half = (table[metric, "high"] - table[metric, "mean"]).fillna(0.0).to_numpy()
    axes.errorbar(costs, qualities, half, linestyle="none", marker="o", capsize=2)
    axes.plot(costs[best], qualities[best], color=_INK, linewidth=1, zorder=0)
    rows = table.index.to_frame().to_dict("records") if results.axes else []
    for label, place in zip(labels_of(rows), zip(costs, qualities, strict=True), strict=False):
        axes.annotate(label, place, fontsize="small", xytext=(4, 4), textcoords="offset points")
    axes.set(xlabel=cost, ylabel=metric)
    if costs.min(initial=math.inf) > 0 and costs.max(initial=0.0) > 10 * costs.min(initial=math.inf):
        axes.set_xscale("log")
    return figure


def write_figure(figure: "Figure", path: Path) -> None:
    """Writes a picture, in the format that the end of the file's name says.

    Raises:
      UserError: the file exists, has another ending, or cannot be written.
    """
    check_new(path, FORMATS)
    try:
        figure.savefig(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def frontier(costs: np.ndarray, qualities: np.ndarray) -> np.ndarray:
    """Returns the rows, cheapest first, of those that no other has both cheaper, or as cheap, and better."""
    order = np.lexsort((-qualities, costs))
    kept, best = [], -math.inf
    for row in order:
        if qualities[row] > best:
            kept.append(row)
            best = qualities[row]
    return np.array(kept, np.int64)


def _by_condition(results: StudyResults) -> dict[str, list[StudiedRun]]:
    """Returns the runs of each condition by its label."""
    labels = labels_of([run.values for run in results.runs])
    groups: dict[str, list[StudiedRun]] = {}
    for label, run in zip(labels, results.runs, strict=True):
        groups.setdefault(label, []).append(run)
    return groups


def _figure(size: tuple[float, float]) -> tuple["Figure", Any]:
    from matplotlib import rc_context

    from m5jax.studies.picture import Picture

    with rc_context(figure_settings(_INK)):
        figure = Picture(figsize=size, layout="constrained", facecolor="white")
        return figure, figure.add_subplot()
