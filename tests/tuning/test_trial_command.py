import shlex
from pathlib import Path

import pytest

from m5jax.tuning.trial_command import TrialCommand

VALUES = {"Cosine.peak": 1e-5, "EncoderConfig.norm": "'rms'", "EncoderConfig.layers": 3}
BINDINGS = ["--gin.Cosine.peak=1e-05", "--gin.EncoderConfig.norm='rms'", "--gin.EncoderConfig.layers=3"]


@pytest.mark.parametrize(
    ("kind", "flag"), [("train", "--gin.RUN_DIR='a \"b\"/0007'"), ("finetune", '--run_dir=a "b"/0007')]
)
def test_a_trial_has_its_values_and_its_directory_after_what_all_have(kind, flag):
    command = TrialCommand((kind, "--gin.A=1"))
    assert command.line(VALUES, Path('a "b"/0007')) == [kind, "--gin.A=1", *BINDINGS, flag]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("train", ["--gin_file=s t/best.gin", "--gin.RUN_DIR='runs/best'"]),
        ("finetune", [*BINDINGS, "--run_dir=runs/best"]),
    ],
)
def test_the_best_values_are_given_as_the_command_takes_them(kind, expected):
    command = TrialCommand((kind, "--gin.A='x\ny'"))
    text = command.text_with_best(VALUES, Path("s t/best.gin"))
    assert "\n" not in text
    assert shlex.split(text) == ["m5jax", kind, "--gin.A='x y'", *expected]
    assert command.text() == f"m5jax {kind} " + shlex.quote("--gin.A='x y'")
