"""What may import what."""

import ast
import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA_LIBRARIES = ("tensorflow", "tensorflow_datasets", "tensorflow_text", "seqio", "gin")
DATA_LIBRARIES += ("apache_beam", "datasketch", "lingua", "torch")
LIGHT = (
    "m5jax",
    "m5jax.errors",
    "m5jax.training",
    "m5jax.training.loop",
    "m5jax.training.tensorboard_file",
    "m5jax.models",
    "m5jax.objectives",
    "m5jax.evaluation.evaluator",
    "m5jax.evaluation.held_out",
    "m5jax.data.materialized",
    "m5jax.data.preparation.settings",
    "m5jax.studies",
    "partitioning",
)

# Folder: what modules in it may not import (prefixes of module names).
FORBIDDEN = {
    "partitioning": ["m5jax", "tasks"],
    "m5jax": ["tasks"],
    "m5jax/models": [
        "m5jax.cli",
        "m5jax.configuration",
        "m5jax.data",
        "m5jax.evaluation",
        "m5jax.inference",
        "m5jax.objectives",
        "m5jax.training",
    ],
    "m5jax/objectives": [
        "m5jax.cli",
        "m5jax.configuration",
        "m5jax.data",
        "m5jax.evaluation",
        "m5jax.inference",
        "m5jax.training",
    ],
    "m5jax/training": ["m5jax.cli", "m5jax.configuration", "m5jax.data", "m5jax.evaluation", "m5jax.inference"],
    "m5jax/evaluation": ["m5jax.cli", "m5jax.configuration", "m5jax.finetuning", "m5jax.tuning"],
    "m5jax/finetuning": ["m5jax.cli", "m5jax.configuration", "m5jax.tuning"],
    "m5jax/inference": ["m5jax.cli", "m5jax.configuration", "m5jax.finetuning", "m5jax.tuning"],
    "m5jax/retrieval": [
        "m5jax.cli",
        "m5jax.configuration",
        "m5jax.evaluation",
        "m5jax.finetuning",
        "m5jax.inference",
        "m5jax.models",
        "m5jax.objectives",
        "m5jax.training",
        "m5jax.tuning",
    ],
    "m5jax/tuning": ["m5jax.cli", "m5jax.finetuning", "m5jax.studies"],
    "m5jax/studies": ["m5jax.cli", "m5jax.finetuning", "m5jax.tuning"],
    "m5jax/data": [
        "m5jax.cli",
        "m5jax.configuration",
        "m5jax.evaluation",
        "m5jax.inference",
        "m5jax.models",
        "m5jax.objectives",
        "m5jax.training",
    ],
    "m5jax/configuration": ["m5jax.cli", "m5jax.studies", "m5jax.tuning"],
    "tasks": [
        "m5jax.cli",
        "m5jax.configuration",
        "m5jax.evaluation",
        "m5jax.inference",
        "m5jax.models",
        "m5jax.objectives",
        "m5jax.training",
    ],
}

# Module: the only folder that imports it.
FENCED = {"gin": "m5jax/configuration", "flax": "m5jax/models", "seqio": "m5jax/data", "tensorflow": "m5jax/data"}
FENCED |= {"faiss": "m5jax/retrieval", "bm25s": "m5jax/retrieval", "optuna": "m5jax/tuning"}
FENCED |= dict.fromkeys(("apache_beam", "datasketch", "lingua"), "m5jax/data/preparation")

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
import {module}
assert not set({blocked}) & set(sys.modules)
"""


@pytest.mark.parametrize("module", LIGHT)
def test_works_where_the_data_libraries_are_not_installed(module: str) -> None:
    code = BLOCKER.format(blocked=DATA_LIBRARIES, module=module)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yields line and full name of each import anywhere in a file."""
    # Garbage collected amid the parsing makes Python 3.11 lose count of its depth (CPython issue 106905).
    gc.disable()
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    finally:
        gc.enable()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def is_within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_dependencies_point_one_way(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files
        for line, name in imports(path)
        if any(is_within(name, module) for module in FORBIDDEN[folder])
    ]
    assert not wrong


@pytest.mark.parametrize("module", FENCED)
def test_fenced_libraries_stay_in_their_folder(module: str) -> None:
    allowed = ROOT / FENCED[module]
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for folder in ("m5jax", "partitioning")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not path.is_relative_to(allowed)
        for line, name in imports(path)
        if is_within(name, module)
    ]
    assert not wrong
