"""One training by the command line, as users run it, and its figures."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m5jax.evaluation.tables import format_table

REPOSITORY = Path(__file__).resolve().parent.parent


def run_command(words: Sequence[str], gin_file: str, bindings: Mapping[str, Any]) -> None:
    """Runs a command of m5jax on a gin file without its output; `bindings` are in Python's notation."""
    flags = [f"--gin_file={gin_file}", *(f"--gin.{name}={value!r}" for name, value in bindings.items())]
    command = [sys.executable, "-m", "m5jax.cli.main", *words, *flags]
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def train_run(gin_file: str, bindings: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Returns the summary of a run that is then thrown away, with its logged `metrics`, and its seconds."""
    with tempfile.TemporaryDirectory() as directory:
        started = time.perf_counter()
        run_command(["train"], gin_file, {**bindings, "RUN_DIR": f"{directory}/run"})
        seconds = time.perf_counter() - started
        summary = json.loads((Path(directory) / "run" / "summary.json").read_text(encoding="utf-8"))
        lines = (Path(directory) / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return summary | {"metrics": [json.loads(line) for line in lines]}, seconds


def measure_run(gin_file: str, mixture: str, steps: int, seed: int, bindings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the figures of one run on a mixture, measured at its end: of each task, what it does and what the most
    frequent answer would."""
    settings = {"MIXTURE": mixture, "TRAIN_STEPS": steps, "DataConfig.seed": seed, "TrainerConfig.seed": seed}
    settings |= {"TrainerConfig.evaluate_every": 0, "TrainerConfig.checkpoint_every": 0}
    summary, seconds = train_run(gin_file, {**settings, "DataConfig.evaluation_examples": 1000, **bindings})
    return {
        "mixture": mixture,
        "steps": steps,
        "seed": seed,
        "seconds": round(seconds, 1),
        "tokens_per_second": summary["tokens_per_second"],
        "tasks": summary["languages"],
    }


def figures_table(runs: Sequence[Mapping[str, Any]], setting: str) -> str:
    """Returns the table of measured runs, with one of their settings."""
    rows = [
        [
            run["mixture"],
            f"{run['steps']:,}",
            f"{run[setting]:g}",
            task,
            f"{found['loss']:.2f}",
            f"{found['unigram_loss']:.2f}",
            f"{found['accuracy']:.1%}",
            f"{found['unigram_accuracy']:.1%}",
            ", ".join(f"{name} {value:.3f}" for name, value in found["metrics"].items()),
        ]
        for run in runs
        for task, found in run["tasks"].items()
    ]
    headers = ("mixture", "steps", setting, "task", "loss", "unigram", "accuracy", "most frequent", "metrics")
    return format_table(headers, rows, ("left", "right", "right", "left", "right", "right", "right", "right", "left"))
