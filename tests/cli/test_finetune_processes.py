"""`m5jax finetune` as several processes: the same run as that of one."""

import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from m5jax.cli.main import main
from m5jax.configuration.fine_tuned_result import read_result
from m5jax.configuration.fine_tuned_run import load_fine_tuned
from m5jax.training.run_log import read_metrics
from tests.configuration.pretrained_run import encoder, pairs, write_rows, write_run
from tests.processes import Finished, free_port, run_together

MINED = ["--gin.FineTuning.negatives=@HardNegativeSettings()", "--gin.FineTuning.refresh_every=2"]


def command_line(folder: Path, name: str, recipe: str, *flags: str) -> list[str]:
    command = ["finetune", f"--from={folder / 'pretrained'}"]
    command += [f"--train={folder / 'train.jsonl'}", f"--valid={folder / 'valid.jsonl'}", f"--recipe={recipe}"]
    settings = {"steps": 4, "batch_size": 8, "length": 32, "evaluate_every": 2, "log_every": 1}
    command += [f"--run_dir={folder / name}", *(f"--gin.FineTuning.{key}={value}" for key, value in settings.items())]
    return [*command, "--gin.MeshConfig.fsdp=2", *flags]


def run_two(command: list[str]) -> list[Finished]:
    """Runs a command as two processes, of two devices each."""
    command = [sys.executable, "-m", "m5jax.cli.main", *command]
    joined = [f"--coordinator=localhost:{free_port()}", "--processes=2"]
    return run_together([[*command, *joined, f"--process={index}"] for index in range(2)], devices=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finetune")
    write_run(folder / "pretrained", encoder())
    for seed, (name, size) in enumerate({"train": 48, "valid": 24}.items()):
        write_rows(folder / f"{name}.jsonl", pairs(size, seed))
    return folder


def test_two_processes_make_the_run_of_one(folder: Path) -> None:
    runs = {count: folder / f"run_{count}" for count in (1, 2)}
    assert main(command_line(folder, runs[1].name, "two_tower", *MINED)) == 0  # of this process, on eight devices
    finished = run_two(command_line(folder, runs[2].name, "two_tower", *MINED))
    assert [process.status for process in finished] == [0, 0], "".join(own.errors for own in finished)
    assert ["best step" in process.output for process in finished] == [True, False]
    losses = {
        count: [row["train/loss"] for row in read_metrics(run) if "train/loss" in row] for count, run in runs.items()
    }
    assert len(losses[1]) == 4
    np.testing.assert_allclose(losses[2], losses[1], rtol=1e-5)
    one, two = (read_result(run) for run in runs.values())
    assert one is not None
    assert two is not None
    assert one.step == two.step
    for metric, value in one.metrics.items():
        np.testing.assert_allclose(two.metrics[metric], value, atol=1e-5, err_msg=metric)
    trained = [jax.tree.leaves(load_fine_tuned(run).parameters) for run in runs.values()]
    for leaf, other in zip(*trained, strict=True):
        np.testing.assert_allclose(leaf, other, atol=1e-5)
    assert json.loads((runs[2] / "summary.json").read_text())["device"].startswith("4 x ")
