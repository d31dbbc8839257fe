"""What a study leaves: table, gin file, CSV, pictures, report."""

import csv
import datetime
import io
import re
import shlex
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from m5jax.configuration.gin_files import parse_bindings
from m5jax.tuning.ranges import parse_range
from m5jax.tuning.results import best_gin, ranked, summary, trials_csv
from m5jax.tuning.study_directory import open_study
from m5jax.tuning.tune_report import importances, write_results
from tests.tuning.studies import make_work

RANGES = {"Cosine.peak": "1e-5..1e-1 log", "EncoderConfig.layers": "1..8 int", "EncoderConfig.norm": "'rms'|'layer'"}


def add(study, state, value, peak=1e-3, layers=2, note=""):
    attributes = {"note": note} if note else {}
    probe = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    for name, text in RANGES.items():
        parse_range(name, text).suggest(probe)
    params = {"Cosine.peak": peak, "EncoderConfig.layers": layers, "EncoderConfig.norm": "'rms'"}
    study.add_trial(
        create_trial(
            state=state,
            value=value,
            params=params,
            distributions=probe.distributions,
            user_attrs=attributes,
            intermediate_values={} if value is None else {100: value},
        )
    )


def make(directory, *trials, **tuning):
    work = make_work(directory, "--gin_file=a b.gin", ranges=RANGES, trials=5, **tuning)
    study = open_study(work.directory, work.tuning, work.definition)
    for trial in trials:
        add(study, *trial)
    return work, study.get_trials()


FOUR = [
    (TrialState.COMPLETE, 5.0, 2e-3, 3),
    (TrialState.COMPLETE, 4.0, 3.25e-05, 4),
    (TrialState.PRUNED, 3.0),
    (TrialState.COMPLETE, 4.0),
    (TrialState.FAIL, None, 1e-3, 2, "<no such file>"),
]


def test_complete_trials_are_ranked_and_of_equal_ones_the_earlier_is_first(tmp_path):
    for direction, order in (("minimize", [1, 3, 0]), ("maximize", [0, 1, 3])):
        work, trials = make(tmp_path / direction, *FOUR, direction=direction)
        assert [trial.number for trial in ranked(trials, work.tuning)] == order


def test_the_table_has_the_best_trials_and_says_why_some_failed(tmp_path):
    work, trials = make(tmp_path / "study", *FOUR)
    lines = summary(trials, work.tuning).splitlines()
    assert lines[0].split() == ["trial", "evaluation/en/loss", *RANGES]
    assert lines[2].split() == ["1", "4", "3.25e-05", "4", "'rms'"]
    assert "5 trials: 3 complete, 1 pruned, 1 failed" in lines
    assert "trial 4 failed: <no such file>" in lines


def test_the_gin_file_binds_the_best_values(tmp_path):
    work, trials = make(tmp_path / "study", *FOUR)
    text = best_gin(trials, work)
    bound = {binding.key: binding.value for binding in parse_bindings(text, "best.gin")}
    assert bound == {"Cosine.peak": 3.25e-05, "EncoderConfig.layers": 4, "EncoderConfig.norm": "rms"}
    assert text.startswith("# The best of a study, trial 1: evaluation/en/loss = 4.0 (minimize).\n")
    (command,) = re.findall(r"^#   m5jax (.*)$", text, flags=re.MULTILINE)
    words = ["train", "--gin_file=a b.gin", f"--gin_file={tmp_path}/study/best.gin", "--gin.RUN_DIR='runs/best'"]
    assert shlex.split(command) == words


def test_the_csv_has_all_trials(tmp_path):
    work, trials = make(tmp_path / "study", *FOUR)
    rows = list(csv.DictReader(io.StringIO(trials_csv(trials, work.tuning))))
    assert [row["state"] for row in rows] == ["complete", "complete", "pruned", "complete", "failed"]
    assert [row["evaluation/en/loss"] for row in rows] == ["5.0", "4.0", "3.0", "4.0", ""]
    assert (rows[1]["Cosine.peak"], rows[1]["step"], rows[4]["note"]) == ("3.25e-05", "100", "<no such file>")
    assert datetime.datetime.fromisoformat(rows[0]["started"]).tzinfo


class WellFormed(HTMLParser):
    """Counts what an HTML page opens and closes."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.scripts = [], "", 0

    def handle_starttag(self, tag, attributes):
        self.scripts += tag == "script"
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read_page(path):
    page = WellFormed()
    page.feed(path.read_text(encoding="utf-8"))
    assert not page.open
    assert not page.scripts
    return page.text


def test_a_study_of_few_trials_says_that_there_is_no_importance(tmp_path):
    work, _ = make(tmp_path / "study", *FOUR)
    said = write_results(work)
    assert "needs 10 complete trials, there are 3" in said
    assert {path.name for path in work.directory.iterdir() if path.is_file()} == {
        "best.gin",
        "history.svg",
        "report.html",
        "study.journal",
        "trials.csv",
    }
    text = read_page(work.directory / "report.html")
    assert "needs 10 complete trials" in text
    assert "<no such file>" in text
    assert "minimize evaluation/en/loss" in text


def many(count):
    """Trials whose value is of the learning rate, and a little of the layers."""
    random = np.random.default_rng(0)
    for _ in range(count):
        peak, layers = 10 ** random.uniform(-5, -1), int(random.integers(1, 9))
        yield TrialState.COMPLETE, 20 * peak + 0.01 * layers, peak, layers


def test_importance_is_the_share_in_the_variance(tmp_path):
    work, trials = make(tmp_path / "study", *many(40))
    study = open_study(work.directory, work.tuning, work.definition)
    importance, reason = importances(study, trials)
    assert reason == ""
    assert list(importance)[0] == "Cosine.peak"
    assert importance["Cosine.peak"] > 0.8
    assert sum(importance.values()) == pytest.approx(1)
    assert importances(study, trials) == (importance, "")
    assert "written: " in write_results(work)
    for name in ("history", "importance"):
        assert ElementTree.parse(work.directory / f"{name}.svg").getroot().tag.endswith("svg")
    svg = (work.directory / "importance.svg").read_text()
    assert re.search(r"Cosine\.peak", svg)
    assert "share in the variance" in read_page(work.directory / "report.html")


def test_equal_values_have_no_importance(tmp_path):
    work, trials = make(tmp_path / "study", *[(TrialState.COMPLETE, 1.0)] * 12)
    importance, reason = importances(open_study(work.directory, work.tuning, work.definition), trials)
    assert importance == {}
    assert "all trials have the same value" in reason


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        ([], "no trials"),
        ([(TrialState.FAIL, None, 1e-3, 2, "no")], "1 trial: 1 failed"),
        ([(TrialState.PRUNED, float("nan"), 1e-3, 2, "diverged")], "1 trial: 1 pruned"),
        ([(TrialState.PRUNED, None), (TrialState.RUNNING, None)], "2 trials: 1 pruned, 1 running"),
    ],
)
def test_a_study_without_a_complete_trial_has_a_report_and_no_gin_file(tmp_path, trials, said):
    work, _ = make(tmp_path / "study", *trials)
    assert write_results(work).splitlines()[0] == said
    assert not (work.directory / "best.gin").exists()
    read_page(work.directory / "report.html")


def test_results_are_the_same_each_time(tmp_path):
    work, _ = make(tmp_path / "study", *many(12))
    written = []
    for _ in range(2):
        write_results(work)
        written.append({path.name: path.read_bytes() for path in work.directory.iterdir() if path.is_file()})
    assert written[0] == written[1]
