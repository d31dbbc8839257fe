"""How much a second stage of pre-training forgets of the first one's data, with replay and nearly without.

    python benchmarks/second_stage.py

trains the quickstart, then `gin_configs/experiments/second_stage.gin` from it for each share of replayed rows, and
writes benchmarks/results/second_stage.json: mean loss over the languages of both mixtures before and after.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environment import environment
from benchmarks.train_run import REPOSITORY
from m5jax.evaluation.tables import format_table
from m5jax.training.run_log import read_metrics

RESULT = REPOSITORY / "benchmarks" / "results" / "second_stage.json"
FIRST, SECOND = (f"gin_configs/experiments/{name}.gin" for name in ("quickstart", "second_stage"))
SHARES = (0.1, 0.0001)  # the second so small that it replays next to nothing, but both mixtures are evaluated


def train(gin_file: str, bindings: Mapping[str, Any]) -> None:
    flags = [f"--gin_file={gin_file}", *(f"--gin.{name}={value!r}" for name, value in bindings.items())]
    subprocess.run([sys.executable, "-m", "m5jax.cli.main", "train", *flags], cwd=REPOSITORY, check=True)


def mixture_losses(run_dir: Path, last: bool) -> dict[str, float]:
    """Returns the mean loss over languages of each mixture, of the first or the last evaluation."""
    rows = [row for row in read_metrics(run_dir) if any(name.startswith("evaluation/") for name in row)]
    row = rows[-1 if last else 0]
    losses: dict[str, list[float]] = {"first": [], "second": []}
    for name, value in row.items():
        if name.startswith("evaluation/") and name.endswith("/loss"):
            losses["second" if "_value_mlm" in name else "first"].append(value)
    return {mixture: round(float(np.mean(values)), 3) for mixture, values in losses.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of both stages (default: %(default)s)")
    arguments = parser.parse_args()
    seeds = {"DataConfig.seed": arguments.seed, "TrainerConfig.seed": arguments.seed}
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        first = Path(directory) / "first"
        train(FIRST, {"RUN_DIR": str(first), **seeds})
        for share in SHARES:
            second = Path(directory) / f"second_{share}"
            train(SECOND, {"RUN_DIR": str(second), "INITIAL_RUN": str(first), "DataConfig.replay": share, **seeds})
            figures["before"] = mixture_losses(second, last=False)
            figures[f"replay {share}"] = mixture_losses(second, last=True)
    result = {"environment": environment(), "seed": arguments.seed, "losses": figures}
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    rows = [[name, *(f"{value:.2f}" for value in losses.values())] for name, losses in figures.items()]
    print(format_table(("", "first mixture", "second mixture"), rows, ("left", "right", "right")))


if __name__ == "__main__":
    main()
