"""Notebooks: run small, from a directory of their own; and what is committed of them was run, whole."""

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.xla_flags import xla_flags

REPOSITORY = Path(__file__).parents[1]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
SECONDS = 900


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_small(path, tmp_path, monkeypatch):
    monkeypatch.setenv("M5JAX_NOTEBOOKS", "small")
    monkeypatch.delenv("M5JAX_DATA", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    # One device, as whoever opens a notebook has; its batches are too small for eight.
    monkeypatch.setenv("XLA_FLAGS", xla_flags(devices=1))
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(read(path), timeout=SECONDS, kernel_name="python3", resources=resources).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_was_run_whole_and_shows_pictures(path):
    notebook = read(path)
    assert "CPU cores**" in notebook.cells[0].source  # how long it takes
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert str(Path.home()) not in json.dumps(outputs)
    assert path.stat().st_size < 2_000_000
