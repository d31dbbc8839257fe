"""`m5jax tune`: what is wrong is said before a trial begins; and a study of real runs."""

import csv
import json
import re
import shlex
from pathlib import Path

import pytest

from m5jax.cli.main import main, make_parser
from m5jax.cli.tune import make_work
from m5jax.configuration.command_line import read_command, split_gin_overrides
from m5jax.training.interruption import EXIT_INTERRUPTED
from m5jax.tuning.ranges import binding_flags
from m5jax.tuning.study_directory import open_study, trial_files

REPOSITORY = Path(__file__).parents[2]
QUICKSTART = "--gin_file=gin_configs/experiments/quickstart.gin"
PEAK = "--range=Cosine.peak=1e-4..1e-2 log"


def words(study, *flags, train=("train", QUICKSTART)):
    return ["tune", f"--study={study}", "--trials=3", *flags, "--", *train]


def make(study, *flags, train=("train", QUICKSTART)):
    return make_work(make_parser().parse_args(split_gin_overrides(words(study, *flags, train=train))))


def refused(capsys, arguments):
    """Returns the one line with which a command line is refused."""
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("m5jax: error: ")
    assert error.count("\n") == 1
    return error


def test_a_trial_is_the_command_with_values_and_a_run_directory_of_its_own(tmp_path):
    work = make(tmp_path / "s", PEAK, "--range=EncoderConfig.norm='rms'|'layer'")
    flags = binding_flags({"Cosine.peak": 1e-5, "EncoderConfig.norm": "'rms'"})
    assert work.command.program[1:] == ("-m", "m5jax.cli.main")
    assert work.command.line(flags, trial_files(tmp_path, 7).run_dir) == [
        "train",
        QUICKSTART,
        "--gin.Cosine.peak=1e-05",
        "--gin.EncoderConfig.norm='rms'",
        f"--gin.RUN_DIR='{tmp_path}/trials/0007'",
    ]
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("flags", "train", "message"),
    [
        ([], ["train", QUICKSTART], "nothing to tune; add --range"),
        (["--range=Cosine.peak"], ["train", QUICKSTART], "--range 'Cosine.peak' is not of the form NAME=VALUE"),
        ([PEAK, PEAK], ["train", QUICKSTART], "--range is given twice for one name"),
        (["--range=Cosine.peak=1e-2..1e-4"], ["train", QUICKSTART], "is empty; allowed: LOW below HIGH"),
        (
            ["--range=Cosine.pek=1e-4..1e-2"],
            ["train", QUICKSTART],
            "unknown argument of Cosine 'pek'; did you mean peak",
        ),
        (["--range=TRAIN_STPES=5|6"], ["train", QUICKSTART], "did you mean TRAIN_STEPS?"),
        (["--range=EncoderConfig.layers=1..4"], ["train", QUICKSTART], "EncoderConfig.layers = 1.0; allowed: int"),
        (
            ["--range=EncoderConfig.dropout_rate=0..1"],
            ["train", QUICKSTART],
            "--range EncoderConfig.dropout_rate=0.0..1",
        ),
        (["--range=EncoderConfig.norm='rms'|'batch'"], ["train", QUICKSTART], "'batch'"),
        (["--range=MaskingPolicy.rate=0.1..0.3"], ["train", QUICKSTART], "has no effect: nothing refers to @Masking"),
        ([PEAK, "--direction=up"], ["train", QUICKSTART], "unknown direction 'up'; allowed: maximize, minimize"),
        ([PEAK, "--trials=0"], ["train", QUICKSTART], "Tuning.trials = 0; allowed: 1 and above"),
        ([PEAK], ["trian", QUICKSTART], "unknown command of a trial, after --, 'trian'; did you mean train?"),
        ([PEAK], ["train"], "this is no command that trains"),
        ([PEAK], ["train", "--gin_file=absent.gin"], "absent.gin"),
        ([PEAK], ["train", QUICKSTART, "--gin.RUN_DIR='runs/a'"], "each trial has its own directory"),
        ([PEAK], ["train", QUICKSTART, "--gin.Cosine.peak=1.0"], "sets what --range Cosine.peak is to choose"),
        ([PEAK, "--tune_file=absent.gin"], ["train", QUICKSTART], "unknown gin file 'absent.gin'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(tmp_path, capsys, flags, train, message):
    assert message in refused(capsys, words(tmp_path / "study", *flags, train=train))
    assert not (tmp_path / "study").exists()


def test_gpus_that_do_not_share_are_said_before_anything_is_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    assert "does not share equally" in refused(capsys, words(tmp_path / "study", PEAK, "--workers=2"))
    assert not (tmp_path / "study").exists()


FINETUNE = ("finetune", "--train=a.jsonl", "--valid=b.jsonl", "--recipe=hashed_ngrams")


def test_fine_tunings_can_be_tuned_too(tmp_path, capsys):
    flags = ("--metric=evaluation/valid/f1", "--direction=maximize", PEAK)
    work = make(tmp_path / "s", *flags, "--range=FineTuning.epochs=1..8", train=FINETUNE)
    assert work.definition["FineTuning.train"] == "('a.jsonl',)"
    assert "FineTuning.run_dir" not in work.definition
    assert work.command.line({}, tmp_path / "run") == [*FINETUNE, f"--run_dir={tmp_path}/run"]
    for train, message in (
        ((*FINETUNE, "--run_dir=a"), "--run_dir after -- is for m5jax tune to give"),
        (FINETUNE[:3], "this is no command that trains"),
    ):
        assert message in refused(capsys, words(tmp_path / "s", *flags, train=train))
    wrong = words(tmp_path / "s", "--range=FineTuning.epoch=1..8", train=FINETUNE)
    assert "unknown argument of FineTuning 'epoch'; did you mean epochs?" in refused(capsys, wrong)


@pytest.fixture
def begun(tmp_path):
    """The directory of a study, and a gin file of its trials."""
    experiment = tmp_path / "experiment.gin"
    experiment.write_text("include 'gin_configs/experiments/quickstart.gin'\nAdamW.weight_decay = 0.1\n")
    work = make(tmp_path / "study", PEAK, train=("train", f"--gin_file={experiment}"))
    open_study(work.directory, work.tuning, work.definition)
    return work.directory, experiment


@pytest.mark.parametrize(
    ("flags", "overrides", "message"),
    [
        (
            ["--range=Cosine.peak=1e-4..1e-1 log"],
            [],
            "(range of Cosine.peak: 0.0001..0.01 log there, 0.0001..0.1 log now)",
        ),
        ([PEAK, "--seed=1"], [], "(seed: 0 there, 1 now)"),
        ([PEAK, "--metric=train/loss"], [], "(metric: evaluation/en/loss there, train/loss now)"),
        ([PEAK], ["--gin.TRAIN_STEPS=500"], "TrainerConfig.steps: 300 there, 500 now"),
        ([PEAK, "--range=BATCH_SIZE=8|16"], [], "range of BATCH_SIZE: unset there, 8|16 now"),
    ],
)
def test_another_study_is_refused_and_the_difference_named(begun, capsys, flags, overrides, message):
    study, experiment = begun
    train = ("train", f"--gin_file={experiment}", *overrides)
    assert message in refused(capsys, words(study, *flags, train=train))


def test_a_gin_file_that_was_changed_makes_another_study(begun, capsys):
    study, experiment = begun
    experiment.write_text(experiment.read_text().replace("0.1", "0.2"))
    error = refused(capsys, words(study, PEAK, train=("train", f"--gin_file={experiment}")))
    assert "holds another study (AdamW.weight_decay: 0.1 there, 0.2 now); choose another --study" in error


def test_the_same_study_written_otherwise_is_the_same(begun):
    study, experiment = begun
    train = ("train", f"--gin_file={experiment}", "--gin.TRAIN_STEPS=300")
    work = make(study, "--range=Cosine.peak=0.0001..0.01  log", "--trials=9", train=train)
    open_study(study, work.tuning, work.definition)


def test_a_study_that_was_stopped_says_so_and_how_to_go_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("m5jax.tuning.study.work_on_study", lambda work, workers: False)
    assert main(words(tmp_path / "study", PEAK)) == EXIT_INTERRUPTED
    assert "m5jax: stopped; run the same command to go on" in capsys.readouterr().out
    assert (tmp_path / "study" / "report.html").is_file()


SMALL = {
    "TRAIN_STEPS": 4,
    "LENGTH": 64,
    "BATCH_SIZE": 8,
    "EncoderConfig.width": 32,
    "EncoderConfig.layers": 1,
    "EncoderConfig.mlp_hidden": 48,
    "DataConfig.evaluation_examples": 8,
}


def test_the_study_of_the_page_runs_and_its_best_values_can_be_trained_with(tmp_path, capsys, monkeypatch):
    """The command of docs/tuning.md, with two trials of few steps; and what becomes of its results."""
    page = (REPOSITORY / "docs" / "tuning.md").read_text(encoding="utf-8")
    command = re.search(r"^    m5jax (tune (?:.*\\\n)*.*)$", page, flags=re.MULTILINE)[1].replace("\\\n", " ")
    small = [f"--gin.{name}={value}" for name, value in SMALL.items()]
    arguments = [*shlex.split(command.replace("--trials=20", "--trials=2 --workers=2")), *small]
    study = tmp_path / "runs" / "tune"
    arguments = [argument.replace("runs/tune", str(study)) for argument in arguments]
    monkeypatch.chdir(REPOSITORY)
    assert main(arguments) == 0
    assert "2 trials: 2 complete" in capsys.readouterr().out

    rows = list(csv.DictReader((study / "trials.csv").open()))
    assert len({row["Cosine.peak"] for row in rows}) == 2
    for row in rows:
        config = (study / "trials" / f"{int(row['trial']):04d}" / "config.gin").read_text()
        assert f"Cosine.peak = {row['Cosine.peak']}" in config
        summary = json.loads((study / "trials" / f"{int(row['trial']):04d}" / "summary.json").read_text())
        assert summary["languages"]["en"]["loss"] == pytest.approx(float(row["evaluation/en/loss"]))
    best = min(rows, key=lambda row: float(row["evaluation/en/loss"]))
    header = re.search(r"^#   m5jax (train .*)$", (study / "best.gin").read_text(), flags=re.MULTILINE)[1]
    assert read_command(shlex.split(header)).optimizer.schedule.peak == float(best["Cosine.peak"])

    assert main(arguments) == 0  # again, with nothing to do
    assert "2 trials: 2 complete" in capsys.readouterr().out
