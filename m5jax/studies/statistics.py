"""Statistics of a metric over seeds: means with their intervals, and tests of differences."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_LEVEL = 0.95


def summarize(values: np.ndarray) -> tuple[float, float, float, int]:
    """Returns the mean, both ends of Student's 95% confidence interval, and the number of the values that there are."""
    from scipy.special import stdtrit  # Student's quantiles; scipy.stats takes a second to import

    values = values[~np.isnan(values)]
    if not len(values):
        return math.nan, math.nan, math.nan, 0
    mean = float(values.mean())
    if len(values) < 2:
        return mean, math.nan, math.nan, len(values)
    half = float(stdtrit(len(values) - 1, (1 + _LEVEL) / 2) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half, len(values)


def compare(first: "pd.Series[float]", other: "pd.Series[float]") -> dict[str, Any]:
    """Returns the difference of two conditions' means, the name of its test, the runs of the smaller one, and p-value.

    Args:
      first: values by seed, of the condition that is compared with.
      other: values by seed. Where the seeds are the same, each once, Student's test of the differences; else Welch's.
    """
    from scipy import stats

    is_paired = first.index.is_unique and set(first.index) == set(other.index)
    difference = float(other.mean() - first.mean())
    count = min(len(first), len(other))
    row: dict[str, Any] = {"difference": difference, "test": "paired" if is_paired else "Welch", "n": count}
    if count < 2:
        return row | {"p_value": math.nan}
    if is_paired:
        differences = (other - first.loc[other.index]).to_numpy()
        # Equal in all seeds but for nothing: no test is defined.
        if np.ptp(differences) == 0.0:
            return row | {"p_value": 1.0 if difference == 0.0 else math.nan}
        return row | {"p_value": float(stats.ttest_1samp(differences, 0.0).pvalue)}
    return row | {"p_value": float(stats.ttest_ind(other, first, equal_var=False).pvalue)}
