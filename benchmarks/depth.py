"""Narrow models of 4 and of 128 layers, 200 steps from their start with products in bfloat16.

    python benchmarks/depth.py

Steps are of 4 rows of 64 tokens, since 128 layers take seconds for each on a CPU, which has to imitate bfloat16. An
initialization that does not hold at depth shows as a loss that stays or jumps and gradients that grow. Prints, and
writes to benchmarks/results/depth.json, the loss of the first and the last logged steps, the largest rise between two
of them, and the largest gradient norm, of each kind of model on the embedded catalog.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environment import environment
from benchmarks.train_run import REPOSITORY, train_run
from m5jax.evaluation.tables import format_table

RESULT = REPOSITORY / "benchmarks" / "results" / "depth.json"
DEPTHS = (4, 128)
LENGTH = 64
# Of each kind: the experiment, its config, the fields that count layers, and its other settings.
MODELS: dict[str, tuple[str, str, tuple[str, ...], dict[str, Any]]] = {
    "encoder": ("quickstart", "EncoderConfig", ("layers",), {}),
    "encoder-decoder": (
        "span_corruption",
        "EncoderDecoderConfig",
        ("encoder_layers", "decoder_layers"),
        {"TARGETS_LENGTH": 32},
    ),
    "decoder": ("causal_lm", "DecoderConfig", ("layers",), {"TARGETS_LENGTH": 60}),
}


def measure(name: str, depth: int, steps: int) -> dict[str, Any]:
    """Returns the figures of one run."""
    experiment, config, fields, bindings = MODELS[name]
    shape = {"width": 64, "mlp_hidden": 128, "dtype": "bfloat16"} | dict.fromkeys(fields, depth)
    settings = {f"{config}.{field}": value for field, value in shape.items()} | bindings
    settings |= {"LENGTH": LENGTH, "BATCH_SIZE": 4, "TRAIN_STEPS": steps, "TrainerConfig.log_every": 5}
    settings |= {"TrainerConfig.evaluate_every": 0, "TrainerConfig.checkpoint_every": 0}
    summary, seconds = train_run(f"gin_configs/experiments/{experiment}.gin", settings)
    lines = [line for line in summary["metrics"] if "train/loss" in line]
    losses = [line["train/loss"] for line in lines]
    return {
        "model": name,
        "layers": depth,
        "steps": steps,
        "seconds": round(seconds, 1),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "largest_rise": max(after - before for before, after in zip(losses, losses[1:], strict=False)),
        "largest_gradient_norm": max(line["train/gradient_norm"] for line in lines),
        "losses": losses,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="of each run (default: %(default)s)")
    arguments = parser.parse_args()
    runs = []
    for name in MODELS:
        for depth in DEPTHS:
            runs.append(measure(name, depth, arguments.steps))
            RESULT.write_text(json.dumps({"environment": environment(), "runs": runs}, indent=2) + "\n", "utf-8")
    headers = ("model", "layers", "first loss", "last loss", "largest rise", "largest gradient norm")
    fields = ("first_loss", "last_loss", "largest_rise", "largest_gradient_norm")
    rows = [[run["model"], str(run["layers"]), *(f"{run[field]:.2f}" for field in fields)] for run in runs]
    print(format_table(headers, rows, ("left", *["right"] * 5)))


if __name__ == "__main__":
    main()
