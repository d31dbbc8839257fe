"""`m5jax launch`: the file is written only for a run that suits the hardware."""

from pathlib import Path

import pytest

from m5jax.cli.main import main

TRAIN = ["train", "--gin_file=gin_configs/experiments/quickstart.gin", "--gin.RUN_DIR='/shared/runs/a'"]


def launch(output: Path, *flags: str, command: list[str] | None = None) -> int:
    return main(["launch", *flags, f"--output={output}", "--", *(TRAIN if command is None else command)])


def test_a_script_is_written_and_how_to_start_it_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "run.sbatch"
    assert launch(output, "slurm", "--hardware=h100:2x8") == 0
    said = capsys.readouterr().out
    assert said.startswith("2 processes of 8 devices; 0.0 of 79.1 GiB a device predicted\n")
    assert f"start them: sbatch {output}" in said
    assert "--gin.RUN_DIR='" in output.read_text()


@pytest.mark.parametrize(
    ("flags", "command", "message"),
    [
        (["slurm", "--hardware=v5e:4x4"], None, "m5jax launch slurm is for GPUs; allowed for v5e:4x4: jobset, tpu-vm"),
        (["tpu-vm", "--tpu=a", "--zone=b", "--hardware=h100:8"], None, "m5jax launch tpu-vm is for TPUs"),
        (["slurm", "--hardware=h100:3x8"], None, "batch of 16 examples is not divisible by 24"),
        (
            ["slurm", "--hardware=h100:2x8"],
            [*TRAIN, "--gin.MeshConfig.tensor=3"],
            "does not multiply to the 16 devices",
        ),
        (
            ["slurm", "--hardware=a100-40gb:8"],
            [*TRAIN, "--gin.BATCH_SIZE=131072"],
            "a device of a100-40gb:1x8 is predicted to need",
        ),
        (["slurm", "--hardware=h100:2x8"], ["train"], "this is no command that trains"),
        (["slurm", "--hardware=h100:2x8"], ["evaluate"], "this is no command that trains"),
    ],
)
def test_what_does_not_suit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], command: list[str] | None, message: str
) -> None:
    output = tmp_path / "run"
    assert launch(output, *flags, command=command) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert not output.exists()


def test_a_file_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "run"
    output.write_text("mine")
    assert launch(output, "slurm", "--hardware=h100:2x8") == 2
    assert "exists; choose another --output" in capsys.readouterr().err
    assert output.read_text() == "mine"


def test_a_pipeline_is_predicted_with_its_micro_batches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("slurm", "--hardware=h100:2x8")
    command = [*TRAIN, "--gin.MeshConfig.data=8", "--gin.MeshConfig.pipeline=2", "--gin.BATCH_SIZE=16384"]
    needed = []
    for parts in (2, 8):
        own = [*command, f"--gin.EncoderConfig.pipeline_microbatches={parts}", "--gin.EncoderConfig.remat='full'"]
        assert launch(tmp_path / str(parts), *flags, command=own) == 0
        needed.append(float(capsys.readouterr().out.split("; ")[1].split(" of ")[0]))
    assert needed[1] < needed[0]
    assert launch(tmp_path / "told", *flags, command=[*TRAIN, "--distributed"]) == 2
    assert "this is not the command of one machine" in capsys.readouterr().err
