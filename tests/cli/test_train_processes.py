"""`m5jax train` as several processes: live data by host, one run directory, one table."""

import json
import socket
import sys
from pathlib import Path

import pytest

from m5jax.cli.main import main
from tests.processes import Finished, free_port, run_together

SETTINGS = {
    "TRAIN_STEPS": 2,
    "LENGTH": 64,
    "BATCH_SIZE": 8,
    "EncoderConfig.layers": 1,
    "DataConfig.evaluation_examples": 8,
    "MeshConfig.fsdp": 2,
}


def train(run_dir: Path, *own: list[str]) -> list[Finished]:
    """Runs a process with each of the lists of further arguments."""
    command = [sys.executable, "-m", "m5jax.cli.main", "train", "--gin_file=gin_configs/experiments/quickstart.gin"]
    command += [f"--gin.{name}={value}" for name, value in SETTINGS.items()] + [f"--gin.RUN_DIR='{run_dir}'"]
    joined = [f"--coordinator=localhost:{free_port()}", f"--processes={len(own)}"]
    return run_together(
        [[*command, *joined, f"--process={index}", *further] for index, further in enumerate(own)], devices=2
    )


def test_two_processes_train_one_run(tmp_path: Path) -> None:
    first, second = train(tmp_path / "run", [], [])
    assert (first.status, second.status) == (0, 0), first.errors + second.errors
    assert "checkpoints" in first.output
    assert "checkpoints" not in second.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["steps"] == 2
    assert summary["device"].startswith("4 x ")
    assert (tmp_path / "run" / "report.html").is_file()
    for index in range(2):
        said = (tmp_path / "run" / "logs" / f"process_{index}.log").read_text()
        assert f"process {index} of 2 has 2 x cpu, part {index + 1} of 2 of each batch" in said


def test_processes_of_different_runs_stop_before_anything_is_written(tmp_path: Path) -> None:
    host = socket.gethostname()
    for process in train(tmp_path / "run", [], ["--gin.TrainerConfig.seed=1"]):
        assert process.status == 2
        assert "m5jax: error: the processes differ in configuration: " in process.errors
        assert f" on {host} (process 0); " in process.errors
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--processes=2", "--process=0"], "--coordinator, --processes and --process go together"),
        (["--distributed", "--process=0"], "--distributed finds the other processes by itself"),
    ],
)
def test_flags_that_do_not_go_together(capsys: pytest.CaptureFixture[str], flags: list[str], message: str) -> None:
    gin = ["--gin_file=gin_configs/experiments/quickstart.gin", "--gin.RUN_DIR='unused'"]
    assert main(["train", *gin, *flags]) == 2
    assert message in capsys.readouterr().err
