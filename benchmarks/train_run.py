"""One training by the command line, as users run it."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent


def train_run(gin_file: str, bindings: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Returns the summary of a run that is then thrown away, with its logged `metrics`, and its seconds; `bindings` are
    in Python's notation."""
    with tempfile.TemporaryDirectory() as directory:
        flags = [f"--gin.{name}={value!r}" for name, value in {**bindings, "RUN_DIR": f"{directory}/run"}.items()]
        command = [sys.executable, "-m", "m5jax.cli.main", "train", f"--gin_file={gin_file}", *flags]
        started = time.perf_counter()
        subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        summary = json.loads((Path(directory) / "run" / "summary.json").read_text(encoding="utf-8"))
        lines = (Path(directory) / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return summary | {"metrics": [json.loads(line) for line in lines]}, seconds
