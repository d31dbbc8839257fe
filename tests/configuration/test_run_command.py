import shlex
from pathlib import Path

import pytest

from m5jax.configuration.run_command import RunCommand

FLAGS = ["--gin.Cosine.peak=1e-05", "--gin.EncoderConfig.norm='rms'", "--gin.EncoderConfig.layers=3"]


@pytest.mark.parametrize(
    ("kind", "flag"), [("train", "--gin.RUN_DIR='a \"b\"/0007'"), ("finetune", '--run_dir=a "b"/0007')]
)
def test_a_run_has_its_values_and_its_directory_after_what_all_have(kind, flag):
    command = RunCommand((kind, "--gin.A=1"))
    assert command.line(FLAGS, Path('a "b"/0007')) == [kind, "--gin.A=1", *FLAGS, flag]


def test_a_command_is_typed_in_one_line():
    command = RunCommand(("train", "--gin.A='x\ny'"))
    assert command.text() == "m5jax train " + shlex.quote("--gin.A='x y'")
    text = command.text(["--gin_file=s t/best.gin"], Path("runs/best"))
    assert shlex.split(text)[2:] == ["--gin.A='x y'", "--gin_file=s t/best.gin", "--gin.RUN_DIR='runs/best'"]
