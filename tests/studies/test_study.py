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
from m5jax.studies.results import StudyResults
from tests.studies import fake_run

FAKE = (sys.executable, "-S", fake_run.__file__)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr("m5jax.studies.make_runs.SECONDS", 0.05)


QUICKSTART = "gin_configs/experiments/quickstart.gin"
PEAKS = [1e-3, 2e-3]
LOSS = "evaluation/en/loss"


def make(directory: Path, axes=None, base=QUICKSTART, **options) -> Study:
    """Returns a study whose runs take no time."""
    study = Study(base, {"Cosine.peak": PEAKS} if axes is None else axes, directory=directory / "study", **options)
    study._command = dataclasses.replace(study._command, program=FAKE)
    return study


def order(directory: Path, orders: dict[float, str]) -> None:
    """Has the first run with a peak do something."""
    (directory / "study" / "locks").mkdir(parents=True)
    (directory / "study" / "orders.json").write_text(json.dumps({str(peak): own for peak, own in orders.items()}))


def wait_for(path: Path) -> None:
    until = time.monotonic() + 120
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)


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
    wait_for(tmp_path / "stopped" / "study" / "waiting")
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
    options = {"seeds": 2, "evaluations": {"test": ["--data=a.jsonl"]}}
    whole, killed = (make(tmp_path / name, axes, **options) for name in ("whole", "killed"))
    assert whole.run(workers=2).finished == 8
    code = (
        "import sys; from pathlib import Path; from tests.studies.test_study import make; print('ready', flush=True); "
        f"make(Path(sys.argv[1]), {axes}, **{options}).run(workers=2)"
    )
    for seconds in np.random.default_rng(0).uniform(0.0, 4.0, size=3):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "killed")], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(seconds)
        process.kill()
        process.communicate()
    while (outcome := killed.run(workers=2)).elsewhere:
        time.sleep(0.1)
    assert (outcome.finished, outcome.failed) == (8, {})
    assert killed.table(LOSS).equals(whole.table(LOSS))


def test_runs_are_evaluated_after_their_training(tmp_path):
    study = make(tmp_path, seeds=1, evaluations={"test": ["--data=pairs.jsonl"]})
    assert study.run().finished == 2
    assert study.table("evaluations/test/all/f1")["evaluations/test/all/f1", "mean"].tolist() == [0.999, 0.998]
    more = make(tmp_path, seeds=1, evaluations={"test": ["--data=pairs.jsonl"], "valid": ["--data=valid.jsonl"]})
    assert [run.state for run in more.runs] == ["trained", "trained"]
    assert more.run().finished == 2
    (reason, _) = make(tmp_path, seeds=1, evaluations={"test": ["--data=others.jsonl"]}).run().failed.values()
    assert "evaluations/test was made by 'm5jax evaluate" in reason
    assert "remove it, or name the evaluation otherwise" in reason


def test_a_run_among_other_systems_has_the_same_name_in_each_run(tmp_path):
    study = make(tmp_path, seeds=1, evaluations={"test": ["--data=pairs.jsonl"]})
    study.run()
    for run in study.runs:
        path = run.files.run_dir / "evaluations" / "test" / "report.json"
        report = json.loads(path.read_text())
        (group,) = report["groups"]
        names = (run.files.run_dir.name, f"{run.files.run_dir.name} (hnsw)", "bm25")
        path.write_text(json.dumps(report | {"groups": [{**group, "name": name} for name in names]}))
    for name in ("run", "run (hnsw)", "bm25"):
        assert study.results.frame(f"evaluations/test/{name}/f1").iloc[:, 2].tolist() == [0.999, 0.998]


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
    fake_run.write_run(tmp_path / "cut", {"Cosine.peak": 0.5})
    whole = (tmp_path / "cut" / "metrics.jsonl").read_text()
    (tmp_path / "cut" / "metrics.jsonl").write_text(whole[:-9])
    results = Study.from_runs(f"{tmp_path}/*")
    assert results.table(LOSS)[LOSS, "n"].tolist() == [3, 3]
    reasons = {Path(directory).name: reason for directory, reason in results.left_out.items()}
    assert reasons["going"] == "it has not ended"
    assert "has no metrics.jsonl" in reasons["lost"]
    assert "metrics.jsonl:1: not a line of metrics" in reasons["torn"]
    assert "metrics.jsonl is half written: it has no evaluation of step 30" in reasons["cut"]


def test_differences_are_tested_seed_by_seed(tmp_path):
    random = np.random.default_rng(0)
    for peak in (0.0, 0.1, 0.2):
        for seed in range(4):
            values = {"Cosine.peak": peak + 0.01 * random.normal(), "EncoderConfig.layers": int(10 * peak)}
            fake_run.write_run(tmp_path / f"{peak}_{seed}", values | {"TrainerConfig.seed": seed})
    with pytest.raises(UserError, match="unknown parameter of these runs 'layers'"):
        Study.from_runs(f"{tmp_path}/*", axes=["layers"])
    results = Study.from_runs(f"{tmp_path}/*", axes=["EncoderConfig.layers"])
    frame, found = results.frame(LOSS), results.significance(LOSS)
    losses = {layers: own[LOSS].to_numpy() for layers, own in frame.groupby("EncoderConfig.layers")}
    expected = [stats.ttest_rel(losses[layers], losses[0]).pvalue for layers in (1, 2)]
    np.testing.assert_allclose(found["p_value"], expected)
    assert found["test"].tolist() == ["paired", "paired"]
    assert found["baseline"].tolist() == ["layers=0", "layers=0"]
    other = results.significance(LOSS, baseline={"EncoderConfig.layers": 2})
    np.testing.assert_allclose(other.loc[0, "difference"], -found.loc[2, "difference"])
    with pytest.raises(UserError, match="the baseline layers=7 has no finished run with evaluation/en/loss"):
        results.significance(LOSS, baseline={"EncoderConfig.layers": 7})
    with pytest.raises(UserError, match="unknown axis 'EncoderConfig.layer'; did you mean EncoderConfig.layers"):
        results.significance(LOSS, baseline={"EncoderConfig.layer": 2})
    fewer = dataclasses.replace(results, runs=results.runs[1:])  # one of the baseline's seeds is missing
    welch = fewer.significance(LOSS)
    assert welch["test"].tolist() == ["Welch", "Welch"]
    expected = [stats.ttest_ind(losses[layers], losses[0][1:], equal_var=False).pvalue for layers in (1, 2)]
    np.testing.assert_allclose(welch["p_value"], expected)
    assert (found["corrected_p_value"] >= found["p_value"]).all()


def test_latex_and_pictures_are_one_call(tmp_path):
    study = make(tmp_path, {"Cosine.peak": PEAKS, "BATCH_SIZE": [8, 16]}, seeds=2)
    study.run(workers=2)
    text = study.to_latex(LOSS)
    assert r"peak & BATCH\_SIZE & evaluation/en/loss & n \\" in text
    assert r"0.001 & 8 & $0.039 \pm 0.064$ & 2 \\" in text
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
        ({"Cosine.peak": [1, 1.0]}, {}, "two runs that are the same: peak=1 and peak=1.0"),
        (
            {"Cosine.peak": PEAKS},
            {"evaluations": {"test": ["--dta=a"]}},
            "test has no flags of m5jax evaluate: .*--dta",
        ),
        ({"Cosine.peak": PEAKS}, {"evaluations": {"test": "--data=a"}}, "'--data=a'; allowed: a list of flags"),
        ({"Cosine.peak": PEAKS}, {"evaluations": {"test": ["--name=b"]}}, "has --run or --name, which the study gives"),
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


def test_runs_of_a_job_array_are_those_of_the_study(tmp_path):
    study = make(tmp_path, seeds=1)
    study.submit("slurm", tmp_path / "a.sbatch", hardware="h100:1x8")
    first = study.runs[0]
    fake_run.write_run(first.files.run_dir, {"Cosine.peak": PEAKS[0], "TrainerConfig.seed": 0})
    written = (first.files.run_dir / "metrics.jsonl").stat()
    assert study.run().finished == 2
    assert (first.files.run_dir / "metrics.jsonl").stat().st_mtime_ns == written.st_mtime_ns


def test_the_same_runs_by_other_axes_are_not_made_again(tmp_path):
    make(tmp_path, seeds=1).run()
    # 16 is the batch size of the quickstart.
    wider = make(tmp_path, {"BATCH_SIZE": [16, 32], "Cosine.peak": PEAKS}, seeds=1)
    assert [run.state for run in wider.runs] == ["finished", "finished", "to do", "to do"]


def test_a_run_whose_files_are_damaged_is_named_and_the_others_are_made(tmp_path):
    study = make(tmp_path, seeds=1)
    damaged = study.runs[0].files.run_dir
    fake_run.write_run(damaged, {"Cosine.peak": PEAKS[0]})
    (damaged / "summary.json").write_text("{")
    outcome = study.run()
    assert (outcome.finished, list(outcome.failed)) == (1, ["peak=0.001, seed=0"])
    assert "summary.json" in outcome.failed["peak=0.001, seed=0"]
    assert [run.state for run in study.runs] == ["damaged", "finished"]


def test_a_run_is_made_by_one_of_two_processes(tmp_path):
    order(tmp_path, {0.001: "wait"})
    code = (
        "import sys; from pathlib import Path; from tests.studies.test_study import make; "
        "make(Path(sys.argv[1]), seeds=1).run()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    wait_for(tmp_path / "study" / "waiting")
    study = make(tmp_path, seeds=1)
    outcome = study.run()
    assert (outcome.finished, outcome.elsewhere, outcome.failed) == (1, ("peak=0.001, seed=0",), {})
    process.terminate()
    process.wait(60)
    assert study.run().finished == 2


def test_of_a_fine_tuning_the_best_checkpoint_counts(tmp_path):
    base = ["finetune", "--train=a.jsonl", "--valid=b.jsonl", "--recipe=hashed_ngrams"]
    study = make(tmp_path, base=base, seeds=2)
    assert study.run().finished == 4
    expected = [1 / fake_run.BEST + peak + 0.005 for peak in PEAKS]
    np.testing.assert_allclose(study.table(LOSS)[LOSS, "mean"], expected)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (list(np.geomspace(1e-4, 1e-2, 3)), ["0.0001", "0.001", "0.01"]),
        ([0.10001, 0.10002], ["0.10001", "0.10002"]),
    ],
)
def test_values_of_an_axis_are_told_apart(tmp_path, values, shown):
    study = make(tmp_path, {"Cosine.peak": values}, seeds=1)
    assert [run.label for run in study.runs] == [f"peak={text}, seed=0" for text in shown]
    study.run()
    assert len(study.plot("curves", LOSS).axes[0].lines) == len(values)


def test_axes_may_have_values_that_are_no_numbers(tmp_path):
    for number, value in enumerate([None, (1, 2), "data/en/train.jsonl", "data/de/train.jsonl"]):
        values = {"Cosine.peak": number / 10, "FineTuning.train": value}
        fake_run.write_run(tmp_path / str(number), values)
    results = Study.from_runs(f"{tmp_path}/*", axes=["FineTuning.train"])
    table = results.table(LOSS)
    assert table.index.tolist() == ["None", "(1, 2)", "data/en/train.jsonl", "data/de/train.jsonl"]
    text = results.to_latex(LOSS)
    assert "data/de/train.jsonl & $0.333$ & 1" in text
    assert len(results.plot("curves", LOSS).axes[0].lines) == 4


def test_conditions_of_a_list_may_name_their_values_in_any_order(tmp_path):
    axes = [{"BATCH_SIZE": 8, "LENGTH": 16}, {"LENGTH": 8, "BATCH_SIZE": 16}]
    assert [run.label for run in make(tmp_path, axes, seeds=1).runs] == [
        "BATCH_SIZE=8, LENGTH=16, seed=0",
        "BATCH_SIZE=16, LENGTH=8, seed=0",
    ]


def test_notebooks_show_pictures_without_pyplot(tmp_path):
    from IPython.core.formatters import DisplayFormatter

    study = make(tmp_path, seeds=1)
    study.run()
    shown, _ = DisplayFormatter().format(study.plot("curves", LOSS))
    assert shown["image/png"].startswith(b"\x89PNG")


def test_runs_may_have_other_axes(tmp_path):
    study = make(tmp_path, seeds=2)
    study.run()
    named = study.results.with_axes(lambda run: {"half": run.values["Cosine.peak"] / 2, "seed": f"a{run.seed}"})
    frame = named.frame("evaluation/en/loss")
    assert (named.axes, set(frame["seed"])) == (("half",), {"a0", "a1"})
    assert frame["half"].tolist() == [run.values["Cosine.peak"] / 2 for run in study.results.runs]
    with pytest.raises(UserError, match="allowed: the same"):
        study.results.with_axes(lambda run: {str(run.values["Cosine.peak"]): 1})


def test_a_pivot_has_the_values_of_an_axis_as_columns(tmp_path):
    study = make(tmp_path, {"Cosine.peak": PEAKS, "BATCH_SIZE": [8, 16]}, seeds=1)
    study.run(workers=2)
    pivot = study.table(LOSS, pivot="BATCH_SIZE")
    assert (list(pivot.columns), list(pivot.index)) == ([8, 16], PEAKS)
    np.testing.assert_allclose(pivot, [[1 / 30 + peak] * 2 for peak in PEAKS])
    with pytest.raises(UserError, match="unknown axis 'peak'"):
        study.table(LOSS, pivot="peak")


def test_the_front_of_a_loss_goes_through_the_lowest(tmp_path):
    # Layers, and so parameters, and losses; the third is beaten by the second.
    for layers, peak in ((1, 0.3), (2, 0.1), (3, 0.2), (4, 0.0)):
        fake_run.write_run(tmp_path / str(layers), {"EncoderConfig.layers": layers, "Cosine.peak": peak})
    results = Study.from_runs(f"{tmp_path}/*")
    for options, expected in (({}, [1000, 2000, 4000]), ({"lower_is_better": False}, [1000])):
        figure = results.plot("pareto", LOSS, "summary/parameters", **options)
        (front,) = (line for line in figure.axes[0].lines if line.get_zorder() == 0)
        assert front.get_xdata().tolist() == expected


def test_what_is_no_curve_is_refused(tmp_path):
    study = make(tmp_path, seeds=1)
    study.run()
    with pytest.raises(UserError, match="summary/parameters is no curve; allowed: metrics of metrics.jsonl"):
        study.plot("curves", "summary/parameters")
    with pytest.raises(UserError, match="workers = 0; allowed: 1 and above"):
        study.run(workers=0)


def test_latex_escapes_what_it_would_read(tmp_path):
    fake_run.write_run(tmp_path / "a", {"Cosine.peak": 0.0})
    run = Study.from_runs(f"{tmp_path}/*").runs[0]
    text = r"50% of {a_b} & $c ~ #1 \d^2"
    results = StudyResults(("name",), (dataclasses.replace(run, values={"name": text}),), {})
    escaped = r"50\% of \{a\_b\} \& \$c \textasciitilde{} \#1 \textbackslash{}d\textasciicircum{}2"
    assert escaped in results.to_latex(LOSS)
    assert r"evaluation/en/loss & n \\" in dataclasses.replace(results, axes=()).to_latex(LOSS)
