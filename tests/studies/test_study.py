"""Studies of runs that take no time: made, stopped, failed, killed, and what their tables say."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from m5jax.errors import UserError
from m5jax.studies import Study
from tests.studies import fake_run

FAKE = (sys.executable, "-S", fake_run.__file__)
QUICKSTART = "gin_configs/experiments/quickstart.gin"
PEAKS = [1e-3, 2e-3]
LOSS = "evaluation/en/loss"


def make(directory: Path, axes=None, **options) -> Study:
    """Returns a study whose runs take no time."""
    study = Study(
        QUICKSTART, {"Cosine.peak": PEAKS} if axes is None else axes, directory=directory / "study", **options
    )
    study._command = dataclasses.replace(study._command, program=FAKE)
    return study


def order(directory: Path, orders: dict[float, str]) -> None:
    """Has the first run with a peak do something."""
    (directory / "study" / "locks").mkdir(parents=True)
    (directory / "study" / "orders.json").write_text(json.dumps({str(peak): own for peak, own in orders.items()}))


def test_each_condition_is_run_with_each_seed(tmp_path):
    study = make(tmp_path, {"Cosine.peak": PEAKS, "BATCH_SIZE": [8, 16]}, seeds=2)
    outcome = study.run(workers=2)
    assert (outcome.finished, outcome.failed, outcome.stopped) == (8, {}, False)
    frame = study.results.frame(LOSS)
    assert list(frame.columns) == ["Cosine.peak", "BATCH_SIZE", "seed", LOSS, "run"]
    assert frame["BATCH_SIZE"].tolist() == [8, 8, 16, 16] * 2
    np.testing.assert_allclose(frame[LOSS], 1 / 30 + frame["Cosine.peak"] + 0.01 * frame["seed"].astype(int))


def test_a_table_has_student_s_intervals_over_seeds(tmp_path):
    study = make(tmp_path, seeds=3)
    study.run()
    table = study.table(LOSS)
    values = 1 / 30 + PEAKS[1] + 0.01 * np.arange(3)
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    np.testing.assert_allclose(table.loc[PEAKS[1], LOSS], [values.mean(), low, high, 3])


def test_one_run_has_no_interval(tmp_path):
    study = make(tmp_path, seeds=1)
    study.run()
    row = study.table(LOSS).loc[PEAKS[0], LOSS]
    assert (math.isnan(row["low"]), math.isnan(row["high"]), row["n"]) == (True, True, 1)


def test_what_is_finished_is_not_made_again_and_what_is_changed_is(tmp_path):
    study = make(tmp_path, seeds=1)
    study.run()
    written = {run.files.run_dir / "metrics.jsonl": (run.files.run_dir / "metrics.jsonl").stat() for run in study.runs}
    wider = make(tmp_path, {"Cosine.peak": [*PEAKS, 4e-3]}, seeds=1)
    assert [run.state for run in wider.runs] == ["finished", "finished", "to do"]
    assert wider.run().finished == 3
    assert all(path.stat().st_mtime_ns == before.st_mtime_ns for path, before in written.items())


def test_a_failed_run_is_named_and_the_others_are_made(tmp_path):
    order(tmp_path, {0.001: "fail"})
    study = make(tmp_path, seeds=1)
    outcome = study.run()
    assert outcome.finished == 1
    assert outcome.failed == {"peak=0.001, seed=0": "no such thing"}
    assert "peak=0.001, seed=0: no such thing" in str(outcome)
    assert study.run().failed == {}  # tried again


def test_a_run_that_is_killed_is_run_again(tmp_path):
    order(tmp_path, {0.001: "kill"})
    assert make(tmp_path, seeds=1).run().finished == 2


def test_a_study_that_is_stopped_goes_on_to_the_same_table(tmp_path):
    whole = make(tmp_path / "whole", seeds=2)
    (tmp_path / "whole").mkdir()
    whole.run()
    (tmp_path / "stopped").mkdir()
    order(tmp_path / "stopped", {0.002: "wait"})
    code = (
        "import sys; from pathlib import Path; from tests.studies.test_study import make; "
        "sys.exit(make(Path(sys.argv[1]), seeds=2).run().stopped)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "stopped")])
    until = time.monotonic() + 120
    while not (tmp_path / "stopped" / "study" / "waiting").exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(60) == 1
    stopped = make(tmp_path / "stopped", seeds=2)
    assert [run.state for run in stopped.runs] == ["finished", "finished", "begun", "to do"]
    assert len(stopped.results.left_out) == 2
    assert stopped.run().finished == 4
    assert stopped.table(LOSS).equals(whole.table(LOSS))


def test_a_study_that_is_killed_at_any_moment_ends_in_the_same_table(tmp_path):
    """Killed without notice; runs that are under way then go on by themselves and are not made twice."""
    axes = {"Cosine.peak": [1e-3, 2e-3, 3e-3, 4e-3]}
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, killed = (make(tmp_path / name, axes, seeds=2) for name in ("whole", "killed"))
    assert whole.run(workers=2).finished == 8
    code = (
        "import sys; from pathlib import Path; from tests.studies.test_study import make; print('ready', flush=True); "
        f"make(Path(sys.argv[1]), {axes}, seeds=2).run(workers=2)"
    )
    for seconds in np.random.default_rng().uniform(0.0, 2.0, size=3):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "killed")], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(seconds)
        process.kill()
        process.communicate()
    while killed.run(workers=2).elsewhere:
        time.sleep(0.1)
    assert killed.table(LOSS).equals(whole.table(LOSS))


def test_runs_are_evaluated_after_their_training(tmp_path):
    study = make(tmp_path, seeds=1, evaluations={"test": ["--data=pairs.jsonl"]})
    assert study.run().finished == 2
    assert study.table("evaluations/test/all/f1")["evaluations/test/all/f1", "mean"].tolist() == [0.999, 0.998]


def test_any_runs_are_a_study(tmp_path):
    for peak in PEAKS:
        for seed in range(3):
            values = {"Cosine.peak": peak, "TrainerConfig.seed": seed, "RUN_DIR": f"'{peak}'"}
            fake_run.write_run(tmp_path / f"{peak}_{seed}", values)
    fake_run.write_run(tmp_path / "going", {"Cosine.peak": 0.5}, done=1)
    fake_run.write_run(tmp_path / "lost", {"Cosine.peak": 0.5})
    (tmp_path / "lost" / "metrics.jsonl").unlink()
    fake_run.write_run(tmp_path / "torn", {"Cosine.peak": 0.5})
    (tmp_path / "torn" / "metrics.jsonl").write_text('{"step": 1, \n{"step": 2}\n')
    results = Study.from_runs(f"{tmp_path}/*")
    assert results.axes == ("Cosine.peak",)
    assert results.table(LOSS)[LOSS, "n"].tolist() == [3, 3]
    reasons = {Path(directory).name: reason for directory, reason in results.left_out.items()}
    assert reasons["going"] == "it has not ended"
    assert "has no metrics.jsonl" in reasons["lost"]
    assert "metrics.jsonl:1: not a line of metrics" in reasons["torn"]


def test_differences_are_tested_seed_by_seed(tmp_path):
    random = np.random.default_rng(0)
    for peak in (0.0, 0.1, 0.2):
        for seed in range(4):
            values = {"Cosine.peak": peak + 0.01 * random.normal(), "EncoderConfig.layers": int(10 * peak)}
            fake_run.write_run(tmp_path / f"{peak}_{seed}", values | {"TrainerConfig.seed": seed})
    results = Study.from_runs(f"{tmp_path}/*")
    results = dataclasses.replace(results, axes=("EncoderConfig.layers",))
    frame, found = results.frame(LOSS), results.significance(LOSS)
    losses = {layers: own[LOSS].to_numpy() for layers, own in frame.groupby("EncoderConfig.layers")}
    expected = [stats.ttest_rel(losses[layers], losses[0]).pvalue for layers in (1, 2)]
    np.testing.assert_allclose(found["p_value"], expected)
    assert found["test"].tolist() == ["paired", "paired"]
    assert (found["corrected_p_value"] >= found["p_value"]).all()


def test_latex_and_pictures_are_one_call(tmp_path):
    study = make(tmp_path, {"Cosine.peak": PEAKS, "BATCH_SIZE": [8, 16]}, seeds=2)
    study.run(workers=2)
    text = study.to_latex(LOSS)
    assert r"peak & BATCH\_SIZE & evaluation/en/loss \\" in text
    assert r"0.001 & 8 & $0.039 \pm 0.064$ \\" in text
    for kind, metrics in (("curves", [LOSS]), ("heat_map", [LOSS]), ("pareto", [LOSS, "summary/parameters"])):
        figure = study.plot(kind, *metrics)
        figure.savefig(tmp_path / f"{kind}.png")
        assert figure.axes[0].has_data()


@pytest.mark.parametrize(
    ("axes", "options", "says"),
    [
        ({"Cosine.pek": [1, 2]}, {}, "unknown argument of Cosine 'pek'; did you mean peak"),
        ({"Cosine.peak": []}, {}, r"the axis Cosine.peak is \[\]; allowed: a list of values"),
        ({"Cosine.peak": [1e-3, 1e-3]}, {}, "two conditions that are the same: peak=0.001"),
        ({"BATCH_SIZE": [16], "DataConfig.batch_size": [8, 16.0]}, {}, "DataConfig.batch_size = 16.0; allowed: int"),
        ([{"BATCH_SIZE": 8}, {"LENGTH": 64}], {}, "conditions of a list bind BATCH_SIZE and LENGTH"),
        ([], {}, "the list of conditions is empty"),
        ({"Cosine.peak": PEAKS}, {"seeds": 0}, "seeds = 0; allowed: how many"),
        ({"Cosine.peak": PEAKS}, {"seeds": [1, 1]}, r"seeds = \[1, 1\]; allowed"),
    ],
)
def test_axes_that_make_no_study_are_refused(tmp_path, axes, options, says):
    with pytest.raises(UserError, match=says):
        make(tmp_path, axes, **options).runs  # noqa: B018 (checked when it is asked for)


def test_two_names_for_one_thing_make_the_same_runs(tmp_path):
    axes = [{"BATCH_SIZE": 8, "DataConfig.batch_size": 16}, {"BATCH_SIZE": 16, "DataConfig.batch_size": 16}]
    with pytest.raises(
        UserError, match="the axes make two runs that are the same: .*batch_size=16 and .*batch_size=16"
    ):
        make(tmp_path, axes).runs  # noqa: B018


def test_an_unknown_metric_names_those_there_are(tmp_path):
    study = make(tmp_path, seeds=1)
    with pytest.raises(UserError, match="the study has no finished run .*it has not begun"):
        study.table(LOSS)
    study.run()
    with pytest.raises(
        UserError, match="unknown metric of a study 'evaluation/en/los'; did you mean evaluation/en/loss"
    ):
        study.table("evaluation/en/los")


def test_runs_that_measure_on_other_data_are_not_compared(tmp_path):
    for examples in (100, 200):
        values = {"DataConfig.evaluation_examples": examples, "Cosine.peak": examples / 1e5}
        fake_run.write_run(tmp_path / str(examples), values)
    results = Study.from_runs(f"{tmp_path}/*")
    with pytest.raises(
        UserError, match="is not measured on the same: DataConfig.evaluation_examples is 100 in .* and 200"
    ):
        results.table(LOSS)
    assert len(results.table(LOSS, same_metric=False)) == 2
