"""What flags of command lines that train stand for."""

from pathlib import Path

import pytest

from m5jax.cli.main import make_parser
from m5jax.configuration.command_line import finetune_bindings
from m5jax.configuration.run_files import CONFIG


@pytest.mark.parametrize(
    ("working", "given", "expected"),
    [("runs", "a", "a-joint"), ("runs/a", ".", "{runs}/a-joint"), ("runs/a/checkpoints", "..", "{runs}/a-joint")],
)
def test_a_run_directory_is_beside_the_one_that_it_begins_with(
    working: str, given: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs" / "a" / "checkpoints").mkdir(parents=True)
    config = "EncoderConfig.width = 8\nRun.model = @EncoderConfig()\n"
    (tmp_path / "runs" / "a" / CONFIG).write_text(config, encoding="utf-8")
    monkeypatch.chdir(tmp_path / working)
    flags = ["finetune", f"--from={given}", "--train=train.jsonl", "--valid=valid.jsonl", "--recipe=joint"]
    bound = finetune_bindings(make_parser().parse_args(flags))
    run_dir = expected.format(runs=tmp_path / "runs")
    assert [binding for binding in bound if "run_dir" in binding] == [f"FineTuning.run_dir={run_dir!r}"]
    assert {f"FineTuning.pretrained={given!r}", "FineTuning.encoder=@EncoderConfig()"} <= set(bound)
