"""What people see of a study that goes on."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from m5jax.studies import progress
from m5jax.training.run_log import RunLog


def planned(directory: Path, steps: int | None) -> Any:
    return SimpleNamespace(label=directory.name, steps=steps, files=SimpleNamespace(run_dir=directory))


def test_a_notebook_has_one_line_with_the_steps_of_each_worker(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    monkeypatch.setattr(progress, "_EVERY", 1)
    for name, step in (("by_steps", 120), ("by_epochs", 35)):
        with RunLog(tmp_path / name) as log:
            log.write(step, {"train/loss": 1.0})
    known, unknown, to_begin = (
        planned(tmp_path / name, steps) for name, steps in (("by_steps", 300), ("by_epochs", None), ("to_begin", 50))
    )
    with progress.StudyProgress(total=3) as shown:
        with shown.of_run(known, 1) as show_first, shown.of_run(unknown, 2) as show_second:
            show_first()
            show_second()
        shown.count()
        with shown.of_run(to_begin, 1) as show_third:
            show_third()
    line = capfd.readouterr().err.split("\r")[-1]
    assert "1/3" in line
    assert "run 1=0/50 steps, run 2=35 steps" in line


def test_a_damaged_log_does_not_end_a_study(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    monkeypatch.setattr(progress, "_EVERY", 1)
    (tmp_path / "metrics.jsonl").write_text("no metrics\n{}\n", encoding="utf-8")
    with progress.StudyProgress(total=1) as shown, shown.of_run(planned(tmp_path, 10), 1) as show:
        show()
    assert "run 1=0/10 steps" in capfd.readouterr().err
