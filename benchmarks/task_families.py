"""A small encoder trained on every kind of task from its start, beside always giving the most frequent answer.

    python benchmarks/task_families.py
    M5JAX_DATA=/path/to/data python benchmarks/task_families.py

trains `--steps` steps of 16 rows, with a learning rate up to `--peak`, on each mixture of the embedded catalog, and of
the data folder where the variable is set, and writes benchmarks/results/task_families.json after each, so that it can
be stopped and goes on where it was.
The figures say that a task trains, not how good a model can get at it.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environment import environment
from benchmarks.mixtures import EMBEDDED, REAL, real_text_vocabulary
from benchmarks.train_run import REPOSITORY, figures_table, measure_run
from m5jax.data.mixtures import find_tasks
from m5jax.data.row_shape import targets_are_aligned

RESULT = REPOSITORY / "benchmarks" / "results" / "task_families.json"
QUICKSTART = "gin_configs/experiments/quickstart.gin"
LENGTH, TARGETS_LENGTH = 128, 48


def train(mixture: str, steps: int, peak: float, seed: int, vocabulary: str, rows: int) -> dict[str, Any]:
    """Returns the figures of one run: of each task, what it does and what the most frequent answer would."""
    aligned = all(map(targets_are_aligned, find_tasks(mixture)))
    length = LENGTH if aligned else LENGTH + TARGETS_LENGTH
    bindings = {
        "VOCABULARY": vocabulary,
        "Cosine.peak": peak,
        "LENGTH": length,
        "DataConfig.targets_length": 0 if aligned else TARGETS_LENGTH,
        "EncoderConfig.vocab_size": rows,
    }
    return measure_run(QUICKSTART, mixture, steps, seed, bindings) | {"peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="of each run (default: %(default)s)")
    parser.add_argument("--peak", type=float, default=3e-3, help="learning rate after warm-up (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mixture", action="append", help="only this one; may be given several times")
    parser.add_argument("--again", action="store_true", help="forget the figures that are there")
    arguments = parser.parse_args()
    real = bool(os.environ.get("M5JAX_DATA"))
    kept = [] if arguments.again or not RESULT.is_file() else json.loads(RESULT.read_text(encoding="utf-8"))["runs"]
    runs = {(run["mixture"], run["steps"], run["peak"], run["seed"]): run for run in kept}
    for mixture in arguments.mixture or [*EMBEDDED, *(REAL if real else [])]:
        key = (mixture, arguments.steps, arguments.peak, arguments.seed)
        if key in runs:
            continue
        own = mixture.startswith("embedded_catalog")
        vocabulary = "" if own else str(real_text_vocabulary("multilingual_text_mlm", arguments.seed))
        runs[key] = {"environment": environment()} | train(*key, vocabulary, 4096 if own else 18432)
        RESULT.write_text(json.dumps({"runs": list(runs.values())}, indent=2) + "\n", encoding="utf-8")
        print(figures_table([runs[key]], "peak"), flush=True)
    print(figures_table(list(runs.values()), "peak"))


if __name__ == "__main__":
    main()
