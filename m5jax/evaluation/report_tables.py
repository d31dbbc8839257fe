"""The figures of an evaluation as the cells of tables."""

from collections.abc import Sequence

from m5jax.evaluation.estimates import Estimate
from m5jax.evaluation.report_data import Group
from m5jax.evaluation.tables import MISSING

# More columns than this are wider than a page.
MOST_COLUMNS = 6


def metric_names(groups: Sequence[Group]) -> list[str]:
    """Returns the names of all groups' metrics, in the order in which they first appear."""
    return list(dict.fromkeys(name for group in groups for name in group.metrics))


def metric_table(groups: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    """Returns headers and rows, a row a metric; of several groups each has a column, of many a row."""
    if len(groups) == 1:
        rows = [
            [name, number(estimate.value), interval_text(estimate), f"{estimate.count:,}"]
            for name, estimate in groups[0].metrics.items()
        ]
        return ["metric", "value", "95% interval", "units"], rows
    if len(groups) > MOST_COLUMNS:
        names = metric_names(groups)
        rows = [[group.name, *(_cell(group.metrics.get(name)) for name in names), _units(group)] for group in groups]
        return ["group", *names, "units"], rows
    cells = [[name, *(_cell(group.metrics.get(name)) for group in groups)] for name in metric_names(groups)]
    return ["metric", *(group.name for group in groups)], [*cells, ["units", *map(_units, groups)]]


def number(value: float) -> str:
    """Returns a value with four decimals, or with four digits where these would say nothing."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e3 else f"{value:.4g}"


def interval_text(estimate: Estimate) -> str:
    """Returns e.g. `(0.8012, 0.8345)`, or a dash where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return MISSING
    return f"({number(estimate.low)}, {number(estimate.high)})"


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return MISSING
    interval = "" if estimate.low is None else f" {interval_text(estimate)}"
    return number(estimate.value) + interval


def _units(group: Group) -> str:
    """Returns how many units the metrics of a group are of."""
    counts = {estimate.count for estimate in group.metrics.values()}
    return "–".join(f"{count:,}" for count in sorted({min(counts), max(counts)})) if counts else MISSING
