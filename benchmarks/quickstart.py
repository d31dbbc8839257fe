"""The quickstart's training from outside: seconds, and the gain over the unigram baseline, for several seeds.

    python benchmarks/quickstart.py --seeds=3

prints a table and writes benchmarks/results/quickstart.json.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environment import environment
from benchmarks.train_run import REPOSITORY, train_run
from m5jax.evaluation.tables import format_table

QUICKSTART = "gin_configs/experiments/quickstart.gin"


def train(seed: int) -> dict[str, object]:
    """Returns seconds and the final figures per language of one run."""
    summary, seconds = train_run(QUICKSTART, {"TrainerConfig.seed": seed, "DataConfig.seed": seed})
    kept = {key: summary[key] for key in ("languages", "tokens_per_second", "steps")}
    return {"seed": seed, "seconds": seconds, **kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="runs, with seeds 0, 1, ... (default: %(default)s)")
    arguments = parser.parse_args()
    runs = [train(seed) for seed in range(arguments.seeds)]
    result = REPOSITORY / "benchmarks" / "results" / "quickstart.json"
    result.write_text(json.dumps({"environment": environment(), "runs": runs}, indent=2) + "\n", encoding="utf-8")
    rows = [
        [str(run["seed"]), f"{run['seconds']:.0f}", language, f"{figures['accuracy']:.1%}"]
        + [f"{figures['unigram_accuracy']:.1%}", f"{100 * (figures['accuracy'] - figures['unigram_accuracy']):+.1f}"]
        for run in runs
        for language, figures in run["languages"].items()  # type: ignore[attr-defined]
    ]
    print(format_table(("seed", "seconds", "language", "accuracy", "unigram", "gain"), rows, ("right",) * 6))


if __name__ == "__main__":
    main()
