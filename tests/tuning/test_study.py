"""Whole studies, of trials that take no time."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from threading import Event

import pytest

from m5jax.configuration.run_process import End
from m5jax.errors import UserError
from m5jax.tuning import worker
from m5jax.tuning.study import work_on_study
from tests.tuning.fake_run import STEPS, loss
from tests.tuning.studies import make_work, told, trials_of

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    work = make_work(tmp_path_factory.mktemp("uninterrupted") / "study", startup_trials=3)
    assert work_on_study(work)
    return work


def states(work):
    return Counter(trial.state.name for trial in trials_of(work))


def test_trials_run_the_command_with_the_values_and_their_metrics_are_told(uninterrupted):
    trials = trials_of(uninterrupted)
    assert len(trials) == 14
    assert {"COMPLETE", "PRUNED"} == set(states(uninterrupted))
    for trial in trials:
        given = json.loads((uninterrupted.directory / "trials" / f"{trial.number:04d}" / "values.json").read_text())
        assert given == {**trial.params, "kind": trial.params["kind"].strip("'")}
        for step, value in trial.intermediate_values.items():
            assert value == pytest.approx(loss(given, step))
        if trial.state.name == "COMPLETE":
            assert tuple(trial.intermediate_values) == STEPS
            assert trial.value == pytest.approx(loss(given, STEPS[-1]))


def test_trials_are_pruned_as_the_median_rule_says(uninterrupted):
    """The rule written out: worse, at its best, than the median of the complete trials before at that step."""
    complete = []
    for trial in trials_of(uninterrupted):
        curve = {step: loss(trial.params, step) for step in STEPS}
        pruned_at = None
        for step in STEPS[:-1]:
            before = sorted(other[step] for other in complete)
            if len(before) < 3 or pruned_at:
                continue
            middle = (before[(len(before) - 1) // 2] + before[len(before) // 2]) / 2
            if min(value for at, value in curve.items() if at <= step) > middle:
                pruned_at = step
        assert trial.state.name == ("PRUNED" if pruned_at else "COMPLETE")
        if pruned_at:
            assert trial.last_step == pruned_at
        else:
            complete.append(curve)


def test_a_study_that_was_stopped_goes_on_as_if_it_had_not_been(uninterrupted, tmp_path):
    """Stopped amid the first trial, in one that is drawn at random, and in one that the estimator chose."""
    stops = [f"--do={at}:stop_study" for at in ("0:30", "4:10", "12:10")]
    work = make_work(tmp_path / "study", *stops, startup_trials=3)
    asked = 0
    while not work_on_study(work):
        asked += 1
        running = [trial.number for trial in trials_of(work) if trial.state.name == "RUNNING"]
        assert running == [len(trials_of(work)) - 1]
    assert asked == 3
    assert told(work) == told(uninterrupted)


class Releases(logging.Handler):
    """Lets the trial that outlived its worker end, once it is waited for."""

    def __init__(self, file):
        super().__init__()
        self.file = file

    def emit(self, record):
        if "still runs, its worker was killed" in record.getMessage():
            self.file.touch()


def test_a_study_whose_worker_was_killed_goes_on_as_if_it_had_not_been(uninterrupted, tmp_path, caplog):
    """The trial's process lives on, and is waited for."""
    words = ["--do=12:10:kill_worker"]
    command = [sys.executable, "-m", "tests.tuning.studies", str(tmp_path / "study"), "1", *words]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == -signal.SIGKILL
    work = make_work(tmp_path / "study", *words, startup_trials=3)
    assert [trial.state.name for trial in trials_of(work)][12:] == ["RUNNING"]
    caplog.set_level(logging.INFO)
    released = work.directory / "trials" / "0012.released"
    handler = Releases(released)
    logging.getLogger("m5jax").addHandler(handler)
    try:
        assert work_on_study(work)
    finally:
        logging.getLogger("m5jax").removeHandler(handler)
    assert released.exists()
    assert told(work) == told(uninterrupted)


def test_a_trial_that_keeps_its_best_checkpoint_has_its_value(tmp_path):
    for command, step in (("train", -1), ("finetune", -2)):
        work = make_work(tmp_path / command, "overfits", command=command, trials=1)
        assert work_on_study(work)
        (trial,) = trials_of(work)
        assert trial.value == list(trial.intermediate_values.values())[step]


def test_a_prolonged_study_equals_a_long_one(uninterrupted, tmp_path):
    for trials in (3, 11, 14):
        work = make_work(tmp_path / "study", trials=trials, startup_trials=3)
        assert work_on_study(work)
        assert len(trials_of(work)) == trials
    assert told(work) == told(uninterrupted)
    before = (work.directory / "study.journal").stat().st_size
    assert work_on_study(work)
    assert (work.directory / "study.journal").stat().st_size == before


def test_a_killed_trial_is_run_again_in_its_directory_once(tmp_path, caplog):
    work = make_work(tmp_path, "--do=1:30:kill_itself", "--do=2:30:kill_itself_always", trials=4)
    caplog.set_level(logging.INFO)
    work_on_study(work)
    assert [trial.state.name for trial in trials_of(work)] == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert trials_of(work)[2].user_attrs["note"] == "killed twice, the second time by SIGKILL"
    assert "trial 1 was killed by SIGKILL and is run again" in caplog.messages
    steps = [json.loads(line)["step"] for line in (tmp_path / "trials" / "0001" / "metrics.jsonl").open()]
    assert steps == [10, 10, 20, 20, 30, 30, 40, 40]


def test_a_failed_trial_says_why_and_the_study_goes_on(tmp_path):
    work = make_work(tmp_path, "--do=1:20:fail", "--do=3:20:fail", trials=5)
    assert work_on_study(work)
    assert [trial.state.name for trial in trials_of(work)] == ["COMPLETE", "FAIL", "COMPLETE", "FAIL", "COMPLETE"]
    assert trials_of(work)[1].user_attrs["note"] == "no such thing"


def test_failures_in_a_row_end_the_work(tmp_path):
    work = make_work(tmp_path, *(f"--do={trial}:10:fail" for trial in (0, 2, 3, 4)), failures=2)
    with pytest.raises(UserError, match="2 trials failed one after another, the last one so: no such thing"):
        work_on_study(work)
    assert states(work) == {"FAIL": 3, "COMPLETE": 1}
    assert work_on_study(make_work(tmp_path, failures=2, trials=6))  # the same study once what failed is mended
    assert states(work) == {"FAIL": 3, "COMPLETE": 3}


def test_a_trial_that_diverged_is_told_as_a_bad_one(tmp_path):
    work = make_work(tmp_path, *(f"--do={trial}:20:diverge" for trial in range(4)), failures=1, trials=4)
    assert work_on_study(work)
    assert states(work) == {"PRUNED": 4}
    assert trials_of(work)[0].user_attrs["note"] == "diverged: train/loss is nan at step 20"
    assert trials_of(work)[0].last_step == 10


def test_a_trial_that_was_stopped_from_outside_stops_the_study_and_goes_on_later(tmp_path):
    work = make_work(tmp_path, "--do=1:20:stopped_from_outside", trials=3)
    assert not work_on_study(work)
    assert states(work) == {"COMPLETE": 1, "RUNNING": 1}
    assert work_on_study(work)
    assert states(work) == {"COMPLETE": 3}


def test_a_trial_that_is_killed_while_the_study_stops_goes_on_later(tmp_path, monkeypatch):
    """A scheduler signals all processes of a job, and one that is still starting has no handler yet."""
    work, stop = make_work(tmp_path, trials=2), Event()

    def killed(*arguments):
        stop.set()
        return End.BY_ITSELF, -signal.SIGTERM

    with monkeypatch.context() as patch:
        patch.setattr(worker, "run_process", killed)
        worker.Worker(work, os.environ, stop, worker.Failures(1)).run()
    (trial,) = trials_of(work)
    assert (trial.state.name, trial.user_attrs) == ("RUNNING", {})
    assert work_on_study(work)
    assert states(work) == {"COMPLETE": 2}


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("evaluation/en/los", "did you mean evaluation/en/loss or"),
        ("train/los", "did you mean train/loss?"),
    ],
)
def test_a_metric_that_no_trial_writes_ends_the_work(tmp_path, metric, message):
    work = make_work(tmp_path, "long" if metric.startswith("evaluation") else "", metric=metric)
    with pytest.raises(UserError) as error:
        work_on_study(work)
    assert message in str(error.value)
    assert "0000/metrics.jsonl" in str(error.value)
    assert len(trials_of(work)) == 1


def test_workers_share_the_trials_out_among_them(tmp_path):
    work = make_work(tmp_path, trials=9)
    assert work_on_study(work, workers=3)
    assert states(work) == {"COMPLETE": 9}
    assert len({json.dumps(trial.params) for trial in trials_of(work)}) == 9


def test_processes_that_join_share_the_trials_too(tmp_path):
    command = [sys.executable, "-m", "tests.tuning.studies", str(tmp_path), "2"]
    others = [subprocess.Popen(command, cwd=REPOSITORY) for _ in range(2)]
    work = make_work(tmp_path, startup_trials=3)
    assert work_on_study(work)
    assert [other.wait() for other in others] == [0, 0]
    assert sum(states(work).values()) == states(work)["COMPLETE"] + states(work)["PRUNED"] == 14
    runs = sorted(path.name for path in (tmp_path / "trials").iterdir())
    assert runs == [f"{number:04d}" for number in range(14)]
    for trial in trials_of(work):
        if trial.state.name == "COMPLETE":
            metrics = tmp_path / "trials" / f"{trial.number:04d}" / "metrics.jsonl"
            assert len(metrics.read_text().splitlines()) == 2 * len(STEPS)


def test_all_workers_stop_when_one_has_an_error(tmp_path):
    work = make_work(tmp_path, "--do=0:20:fail", "--do=1:20:wait", failures=1)
    with pytest.raises(UserError, match="no such thing"):
        work_on_study(work, workers=2)
    assert states(work)["COMPLETE"] == 0
    assert states(work)["FAIL"] == 1


def test_signals_act_as_before_afterwards(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    work_on_study(make_work(tmp_path, "--do=0:20:stop_study"))
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_full_disk_is_said_in_one_line(tmp_path):
    work = make_work(tmp_path)
    work_on_study(make_work(tmp_path, trials=1))
    (tmp_path / "logs" / "0001.out").mkdir()  # cannot be written, as on a full disk
    with pytest.raises(UserError, match="cannot work on the study"):
        work_on_study(work)
