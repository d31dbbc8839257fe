"""`m5jax study`: what a gin file describes, what it shows of runs, and what it refuses."""

import csv
import json
from pathlib import Path

import pytest

from m5jax.cli.main import main
from tests.studies import fake_run

STUDY = """
Study.base = 'gin_configs/experiments/quickstart.gin'
Study.axes = {'Cosine.peak': [1e-3, 3e-3]}
Study.seeds = 2
Study.directory = %r
Study.metrics = ['evaluation/en/loss']
"""


@pytest.fixture
def study(tmp_path):
    """The gin file of a study without runs."""
    path = tmp_path / "study.gin"
    path.write_text(STUDY % str(tmp_path / "runs"))
    return path


@pytest.fixture
def runs(tmp_path):
    """A pattern of finished runs."""
    for peak in (1e-3, 3e-3):
        for seed in range(2):
            fake_run.write_run(tmp_path / f"made/{peak}_{seed}", {"Cosine.peak": peak, "TrainerConfig.seed": seed})
    return f"{tmp_path}/made/*"


def refused(capsys, *words):
    """Returns the one line with which a command is refused."""
    assert main(["study", *map(str, words)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("m5jax: error: ")
    assert error.count("\n") == 1
    return error


def test_the_state_of_each_run_is_shown(study, capsys):
    assert main(["study", "status", str(study)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["0", "to", "do", "peak=0.001,"],
        ["1", "to", "do", "peak=0.001,"],
        ["2", "to", "do", "peak=0.003,"],
        ["3", "to", "do", "peak=0.003,"],
    ]


def test_a_table_of_any_runs_is_shown_and_written(runs, tmp_path, capsys):
    for ending in (".csv", ".json", ".md", ".tex"):
        assert main(["study", "table", runs, f"--output={tmp_path}/table{ending}"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["peak", "evaluation/en/loss", "n"]
    assert printed[-1].split() == ["0.003", "0.04133", "±", "0.064", "2"]
    first, second = csv.DictReader((tmp_path / "table.csv").open())
    assert float(first["evaluation/en/loss mean"]) == pytest.approx(1 / 30 + 1e-3 + 0.005)
    assert second["evaluation/en/loss n"] == "2"
    written = json.loads((tmp_path / "table.json").read_text())
    assert written["axes"] == ["Cosine.peak"]
    assert [(row["Cosine.peak"], row["seed"], row["run"]) for row in written["runs"]] == [
        (0.001, "0", "0.001_0"),
        (0.001, "1", "0.001_1"),
        (0.003, "0", "0.003_0"),
        (0.003, "1", "0.003_1"),
    ]
    assert written["runs"][0]["evaluation/en/loss"] == pytest.approx(1 / 30 + 1e-3)
    assert "| 0.003 | 0.04133 ± 0.064 | 2 |" in (tmp_path / "table.md").read_text()
    assert r"0.003 & $0.041 \pm 0.064$ & 2 \\" in (tmp_path / "table.tex").read_text()
    assert "table.csv exists; choose another" in refused(capsys, "table", runs, f"--output={tmp_path}/table.csv")


def test_pictures_are_written(runs, tmp_path, capsys):
    assert main(["study", "plot", runs, f"--output={tmp_path}/curves.svg"]) == 0
    assert "4 runs, 0 left out" in capsys.readouterr().out
    assert "peak=0.003" in (tmp_path / "curves.svg").read_text()
    assert "allowed: names that end in .png" in refused(capsys, "plot", runs, f"--output={tmp_path}/curves.gif")
    assert "of two axes; the study has 1" in refused(capsys, "plot", runs, "--kind=heat_map", "--output=a.png")
    assert "pareto is of 2 metrics; 1 are given" in refused(capsys, "plot", runs, "--kind=pareto", "--output=a.png")


def test_runs_that_are_left_out_are_named(runs, tmp_path, capsys):
    fake_run.write_run(tmp_path / "made/going", {"Cosine.peak": 0.5}, done=1)
    assert main(["study", "table", runs]) == 0
    assert f"left out: {tmp_path}/made/going: it has not ended" in capsys.readouterr().out


def test_a_job_array_trains_each_run(study, tmp_path, capsys):
    output = tmp_path / "study.sbatch"
    words = ["study", "submit", str(study), "--scheduler=slurm", "--hardware=h100:1x8", f"--output={output}"]
    assert main([*words, "--at_a_time=2", "--option=--partition=gpu"]) == 0
    assert f"start them: sbatch {output}" in capsys.readouterr().out
    text = output.read_text()
    assert "#SBATCH --array=0-3%2\n" in text
    assert "#SBATCH --partition=gpu\n" in text
    for number, (peak, seed) in enumerate([(0.001, 0), (0.001, 1), (0.003, 0), (0.003, 1)]):
        (line,) = [line for line in text.splitlines() if line.startswith(f"  {number}) ")]
        assert f"--gin.Cosine.peak={peak} --gin.TrainerConfig.seed={seed}" in line
        assert f"{tmp_path}/runs/runs/peak={peak}-seed{seed}-" in line
    assert "exists; choose another output" in refused(capsys, *words[1:])


def test_a_jobset_trains_each_run(study, tmp_path, capsys):
    output = tmp_path / "study.yaml"
    words = ["submit", study, "--scheduler=jobset", "--hardware=v5e:2x4", f"--output={output}", "--image=m5jax:1"]
    assert "a JobSet needs --volume" in refused(capsys, *words)
    assert "options is not of jobset; leave it out" in refused(capsys, *words, "--volume=runs:/runs", "--option=--a=b")
    assert main(["study", *map(str, words), "--volume=runs:/runs"]) == 0
    assert output.read_text().count("kind: JobSet") == 4
    assert "allowed for v5e:2x4: jobset" in refused(
        capsys, "submit", study, "--scheduler=slurm", "--hardware=v5e:2x4", "--output=a"
    )


def test_jobs_are_started_where_that_is_asked_for(study, tmp_path, capsys, monkeypatch):
    program = tmp_path / "bin" / "sbatch"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ -f "$1" ] && echo Submitted batch job 7 || { echo no such file >&2; exit 1; }\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    words = ["study", "submit", str(study), "--scheduler=slurm", "--hardware=h100:1x8", "--start"]
    assert main([*words, f"--output={tmp_path}/a.sbatch"]) == 0
    assert capsys.readouterr().out == "Submitted batch job 7\n"
    program.write_text("#!/bin/sh\necho invalid partition >&2; exit 1\n")
    assert "failed: invalid partition" in refused(capsys, *words[1:], f"--output={tmp_path}/b.sbatch")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("Study.seed = 3", "unknown argument of Study 'seed'; did you mean seeds"),
        ("Study.axes = ['Cosine.peak']", r"allowed: {'NAME': [VALUE, VALUE]}, or a list of {'NAME': VALUE}"),
        ("Study.axes = {'Cosine.pek': [1.0]}", "unknown argument of Cosine 'pek'; did you mean peak"),
        ("Study.base = 'absent.gin'", "unknown gin file 'absent.gin'"),
        ("Cosine.peak = 1.0", "is not of Study; what all runs have is for the gin file of Study.base"),
        ("Study.base = ['evaluate']", "unknown command of a study 'evaluate'; allowed: finetune, train"),
    ],
)
def test_files_that_describe_no_study_are_refused(study, capsys, more, says):
    study.write_text(study.read_text() + more)
    assert says in refused(capsys, "status", study)


def test_a_study_needs_a_directory(study, capsys):
    study.write_text("\n".join(line for line in study.read_text().splitlines() if "directory" not in line))
    assert "does not bind Study.directory; allowed: a text" in refused(capsys, "status", study)


def test_a_run_of_no_number_and_runs_of_no_name_are_refused(study, tmp_path, capsys):
    assert "there is no run 4; allowed: 0 to 3" in refused(capsys, "run", study, "--only=4")
    assert "there is no finished run: no directory is named so" in refused(capsys, "table", tmp_path / "none*")
    assert not Path(tmp_path / "runs").exists()
