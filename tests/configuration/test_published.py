"""The cost model on runs that others published."""

import pytest

from benchmarks.published import RUNS


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_published_run_is_predicted_within_a_quarter(run):
    assert run.predicted().rows_per_second == pytest.approx(run.measured, rel=0.25)
