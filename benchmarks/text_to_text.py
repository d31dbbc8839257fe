"""Encoder-decoders on what encoders do: labels written as text beside labels predicted, and denoising of real text.

    python benchmarks/text_to_text.py
    M5JAX_DATA=/path/to/data python benchmarks/text_to_text.py

trains the product types of the embedded catalog in both forms, with each of `--seeds`, and, where the variable is set,
span corruption and the mixture of denoisers on English, German and Arabic text. Writes
benchmarks/results/text_to_text.json after each run, so that it can be stopped and goes on where it was.
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
from benchmarks.mixtures import real_text_vocabulary
from benchmarks.train_run import REPOSITORY, figures_table, measure_run

RESULT = REPOSITORY / "benchmarks" / "results" / "text_to_text.json"
ENCODER = "gin_configs/experiments/quickstart.gin"
ENCODER_DECODER = "gin_configs/experiments/span_corruption.gin"
LENGTH = 128
TWINS = (
    ("embedded_catalog_product_type", ENCODER, {}),
    ("embedded_catalog_product_type_text", ENCODER_DECODER, {"TARGETS_LENGTH": 48}),
)
DENOISING = (
    ("multilingual_text_span_corruption", ENCODER_DECODER, {"TARGETS_LENGTH": 32}),
    ("multilingual_text_ul2", ENCODER_DECODER, {"TARGETS_LENGTH": 80}),
)


def train(mixture: str, gin_file: str, bindings: dict[str, Any], steps: int, seed: int) -> dict[str, Any]:
    """Returns the figures of one run, of each language."""
    if not mixture.startswith("embedded_catalog"):
        vocabulary = str(real_text_vocabulary("multilingual_text_mlm", seed))
        bindings = {"VOCABULARY": vocabulary, "EncoderDecoderConfig.vocab_size": 18432, **bindings}
    return measure_run(gin_file, mixture, steps, seed, {"LENGTH": LENGTH, **bindings})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2, help="runs of the twins (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=800, help="of the twins (default: %(default)s)")
    parser.add_argument("--denoising_steps", type=int, default=600, help="on real text (default: %(default)s)")
    arguments = parser.parse_args()
    kept = json.loads(RESULT.read_text(encoding="utf-8"))["runs"] if RESULT.is_file() else []
    runs = {(run["mixture"], run["steps"], run["seed"]): run for run in kept}
    wanted = [(*twin, arguments.steps, seed) for seed in range(arguments.seeds) for twin in TWINS]
    if os.environ.get("M5JAX_DATA"):
        wanted += [(*denoising, arguments.denoising_steps, 0) for denoising in DENOISING]
    for mixture, gin_file, bindings, steps, seed in wanted:
        key = (mixture, steps, seed)
        if key in runs:
            continue
        runs[key] = {"environment": environment()} | train(mixture, gin_file, bindings, steps, seed)
        RESULT.write_text(json.dumps({"runs": list(runs.values())}, indent=2) + "\n", encoding="utf-8")
        print(figures_table([runs[key]], "seed"), flush=True)
    print(figures_table(list(runs.values()), "seed"))


if __name__ == "__main__":
    main()
