"""`m5jax compare`, from the command line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from m5jax.cli.main import main
from m5jax.evaluation.predictions import make_predictions
from m5jax.evaluation.reports import write_evaluation
from tests.evaluation.evaluation_examples import report_of


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Three run directories, each with an evaluation of texts; the third has two evaluations."""
    names = []
    for name, step in (("a", 2), ("b", 3), ("c", 5)):
        wrong = np.arange(60) % step == 0
        columns = {
            "unit": [str(unit) for unit in range(60)],
            "group": ["de"] * 60,
            "target": ["kettle"] * 60,
            "predicted": np.where(wrong, "", "kettle").tolist(),
        }
        predictions = make_predictions("text", "f", columns)
        write_evaluation(tmp_path / name / "evaluations" / "titles", report_of(kind="text"), predictions)
        names.append(str(tmp_path / name))
    write_evaluation(tmp_path / "c" / "evaluations" / "other", report_of(kind="text"), predictions)
    return names


def test_two_runs_are_a_table(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *runs[:2], "--samples=50", "--seed=3"]) == 0
    printed = capsys.readouterr().out
    (row,) = [line.split() for line in printed.splitlines() if "exact_match" in line]
    assert row[:5] == ["de", "exact_match", "0.5000", "0.6667", "+0.1667"]
    assert "50 samples, seed 3" in printed


def test_several_runs_are_each_compared_with_the_first_and_written(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert main(["compare", *runs, "--evaluation=titles", "--samples=50", f"--output={output}"]) == 0
    printed = capsys.readouterr().out
    assert f"{runs[1]} against {runs[0]}" in printed
    assert f"{runs[2]} against {runs[0]}" in printed
    assert printed.rstrip().endswith(f"written to {output}")
    values = json.loads((output / "compare.json").read_text(encoding="utf-8"))
    assert [found["second"] for found in values["comparisons"]] == runs[1:]
    assert [found["metrics"][0]["second"] for found in values["comparisons"]] == pytest.approx([2 / 3, 0.8])


def test_what_is_wrong_is_one_line(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        ([*runs], "holds several evaluations; add --evaluation= with one of other, titles"),
        ([*runs, "--evaluation=title"], "did you mean titles?"),
        ([runs[0], str(tmp_path)], "holds no evaluation"),
        ([*runs[:2], f"--output={tmp_path}"], "exists; remove it or choose another one"),
        ([*runs[:2], "--seed=-1"], "the seed is -1; allowed: 0 and above"),
    ):
        assert main(["compare", *arguments]) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.err.count("\n") == 1
        assert "exact_match" not in captured.out or "--evaluation" in message


def test_one_run_is_too_few(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compare", runs[0]])
    assert "required: RUN" in capsys.readouterr().err


def test_the_parser_imports_nothing_heavy() -> None:
    check = (
        "import sys, argparse, m5jax.cli.compare;"
        "m5jax.cli.compare.add_parser(argparse.ArgumentParser().add_subparsers());"
        "print([name for name in ('matplotlib', 'pyarrow', 'scipy', 'sklearn', 'numpy', 'jax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
