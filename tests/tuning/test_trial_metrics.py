import json
import math

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.tuning.trial_metrics import Judge, TrialMetrics, read_trial_metrics

METRIC = "evaluation/en/loss"


def write(run_dir, *rows):
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps({"time": 0.0} | row) + "\n" for row in rows))


def test_values_are_read_by_step(tmp_path):
    write(tmp_path, {"step": 10, "train/loss": 2.0}, {"step": 10, METRIC: 1.0}, {"step": 20, "train/loss": 1.5})
    metrics = read_trial_metrics(tmp_path, METRIC)
    assert metrics.values == {10: 1.0}
    assert metrics.newest_step == 20
    assert {METRIC, "train/loss"} <= metrics.names
    assert not metrics.diverged


def test_a_run_that_wrote_nothing_yet_has_no_values(tmp_path):
    assert read_trial_metrics(tmp_path / "absent", METRIC) == TrialMetrics({}, -1, frozenset(), "")


@pytest.mark.parametrize("name", ["train/loss", "train/gradient_norm", METRIC])
def test_what_is_not_finite_is_named(tmp_path, name):
    write(tmp_path, {"step": 10, METRIC: 1.0}, {"step": 20, name: "NaN"}, {"step": 30, "train/loss": "Infinity"})
    assert read_trial_metrics(tmp_path, METRIC).diverged == f"{name} is nan at step 20"


def test_an_evaluation_without_the_metric_is_an_error_at_once(tmp_path):
    write(tmp_path, {"step": 10, "train/loss": 1.0}, {"step": 10, METRIC: 1.0, "evaluation/en/accuracy": 0.5})
    with pytest.raises(UserError, match=r"metrics.jsonl 'evaluation/en/los'; did you mean evaluation/en/loss"):
        read_trial_metrics(tmp_path, "evaluation/en/los")
    assert read_trial_metrics(tmp_path, "train/en/loss").values == {}  # of tasks that are drawn now and then


class Recorder:
    """Stands for a trial: prunes at one step."""

    def __init__(self, prune_at=math.inf):
        self.reported, self.asked, self.prune_at = [], [], prune_at

    def report(self, value, step):
        self.reported.append((step, value))

    def should_prune(self):
        self.asked.append(self.reported[-1][0] if self.reported else None)
        return self.asked[-1] is not None and self.asked[-1] >= self.prune_at


def metrics_of(rows):
    """Rows are (step, value, or None for a line without the metric)."""
    values = {step: value for step, value in rows if value is not None}
    return TrialMetrics(values, max((step for step, _ in rows), default=-1), frozenset(), "")


ROWS = [(10, None), (10, 5.0), (20, None), (20, 4.0), (30, None), (30, 3.0)]


def test_a_value_is_judged_once_the_run_has_gone_on_past_it():
    trial = Recorder()
    judge = Judge(trial, ())
    for read in range(len(ROWS) + 1):
        assert judge.goes_on(metrics_of(ROWS[:read]))
        newest = max((step for step, _ in ROWS[:read]), default=-1)
        assert trial.reported == [row for row in ROWS[:read] if row[1] is not None and row[0] < newest]
    judge.ended(metrics_of(ROWS))
    assert trial.reported == [(10, 5.0), (20, 4.0), (30, 3.0)]
    assert trial.asked == [10, 20]


@given(st.lists(st.integers(0, len(ROWS)), max_size=5), st.sampled_from([10, 20, 30, math.inf]))
def test_what_is_pruned_does_not_depend_on_when_the_history_is_read(reads, prune_at):
    outcomes = []
    for schedule in (range(len(ROWS) + 1), (*sorted(reads), len(ROWS))):
        trial = Recorder(prune_at)
        judge = Judge(trial, ())
        goes_on = all(judge.goes_on(metrics_of(ROWS[:read])) for read in schedule)
        outcomes.append((goes_on, trial.reported))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == (prune_at > 20)


def test_another_worker_reports_nothing_twice_and_judges_the_last_once_more():
    trial = Recorder()
    judge = Judge(trial, [10, 20])
    assert judge.goes_on(metrics_of(ROWS))
    assert (trial.reported, len(trial.asked)) == ([], 1)
    judge.ended(metrics_of(ROWS))
    assert trial.reported == [(30, 3.0)]


def test_a_run_that_had_ended_is_not_judged_by_its_last_value():
    trial = Recorder(prune_at=0)
    assert Judge(trial, [10, 20, 30]).goes_on(metrics_of(ROWS))
    assert trial.asked == []


def test_the_pruner_is_optunas_median_of_the_complete_trials():
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(2, 15))
    for values in ((5.0, 3.0), (7.0, 4.0), (6.0, 5.0)):
        trial = study.ask()
        for step, value in zip((10, 20), values, strict=True):
            trial.report(value, step)
        study.tell(trial, values[-1])
    for last, goes_on in ((4.1, False), (3.9, True)):
        rows = [(10, 9.0), (20, last), (30, None)]
        assert Judge(study.ask(), ()).goes_on(metrics_of(rows)) == goes_on
