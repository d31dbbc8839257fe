"""Requested and observed sampling rates of languages in the live pipeline, for several rules and a nested mixture.

    M5JAX_DATA=/path/to/data python benchmarks/mixing_rates.py

draws packed rows of real text in English, German and Arabic and counts the examples of each task in them. `z` is the
difference in standard deviations of a binomial count; a run is sound while none is beyond 4.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import tasks  # noqa: F401  registers the tasks
from benchmarks.environment import environment
from benchmarks.mixtures import real_text_vocabulary
from m5jax.data.mixing import MixingRule, Proportional, UniMax
from m5jax.data.mixtures import add_mixture, find_tasks, mixture_rates
from m5jax.data.pipeline import training_batches
from m5jax.data.vocabulary import set_current_vocabulary

MIXTURE, NESTED = "multilingual_text_mlm", "benchmark_nested"
RULES: dict[str, tuple[str, MixingRule]] = {
    "alpha = 0.3": (MIXTURE, Proportional(0.3)),
    "alpha = 0.7": (MIXTURE, Proportional(0.7)),
    "alpha = 1.0": (MIXTURE, Proportional(1.0)),
    "UniMax, 200 MB": (MIXTURE, UniMax(200_000_000, max_epochs=1.5)),
    "nested, alpha = 0.3": (NESTED, Proportional(0.3)),
}
# Texts of several pieces follow each other, and draws are of pieces: short rows would cut most texts.
LENGTH = 2048


def observed_counts(mixture: str, rule: MixingRule, examples: int, seed: int) -> dict[str, int]:
    """Returns how many examples of each task are in rows with at least `examples` examples."""
    names = [task.name for task in find_tasks(mixture)]
    counts = np.zeros(len(names), np.int64)
    for batch in training_batches(mixture, length=LENGTH, batch_size=16, seed=seed, mixing=rule):
        rows, slots = np.nonzero(batch["loss_weights"])
        segments = batch["segment_ids"][rows, batch["predicted_positions"][rows, slots]]
        seen = np.unique(np.stack([rows, segments, batch["task_ids"][rows, slots]]), axis=1)
        counts += np.bincount(seen[2], minlength=len(names))
        if counts.sum() >= examples:
            break
    return dict(zip(names, counts.tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=10_000, help="to count for each rule (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for language in ("en", "de", "ar"):
        add_mixture(f"benchmark_{language}", {f"text_{language}_mlm": 3.0, f"text_{language}_word_mlm": 1.0})
    add_mixture(NESTED, [f"benchmark_{language}" for language in ("en", "de", "ar")])
    set_current_vocabulary(real_text_vocabulary(MIXTURE, 0))
    rows: list[dict[str, Any]] = []
    print(f"{'rule':<22}{'task':<22}{'requested':>10}{'observed':>10}{'z':>7}")
    for name, (mixture, rule) in RULES.items():
        requested = mixture_rates(mixture, rule)
        counts = observed_counts(mixture, rule, arguments.examples, arguments.seed)
        total = sum(counts.values())
        for task, rate in requested.items():
            z = (counts[task] - total * rate) / np.sqrt(total * rate * (1 - rate))
            rows.append(
                {"rule": name, "task": task, "requested": rate, "observed": counts[task] / total, "z": float(z)}
            )
            print(f"{name:<22}{task:<22}{rate:>10.4f}{counts[task] / total:>10.4f}{z:>7.2f}")
    result = {"environment": environment(), "seed": arguments.seed, "examples": arguments.examples, "rates": rows}
    output = Path(__file__).with_name("results") / "mixing_rates.json"
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {output}")


if __name__ == "__main__":
    main()
