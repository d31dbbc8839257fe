"""Time and memory of encoders whose layers see all tokens, and of those two thirds of whose layers see near ones.

    python benchmarks/local_attention.py

Of the gradients of a masked-LM loss of one row, with a window of 128 tokens. Both take turns; writes the medians and
XLA's temporary memory to benchmarks/results/local_attention.json.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp

from benchmarks.environment import environment
from m5jax.evaluation.tables import format_table
from m5jax.models import EncoderConfig, FunctionalModel
from m5jax.objectives import LanguageModel

RESULT = Path(__file__).resolve().parent / "results" / "local_attention.json"
LENGTHS = (512, 2048)
SHAPE = {"vocab_size": 512, "width": 256, "layers": 6, "heads": 4, "mlp_hidden": 512, "dtype": "float32"}


def gradient(length: int, global_every: int) -> tuple[Callable[[], Any], int]:
    """Returns a run of the compiled gradients, and the bytes of their temporary memory."""
    config = EncoderConfig(**SHAPE, max_length=length, global_every=global_every, local_window=128)
    model = FunctionalModel.from_config(config)
    places = jnp.arange(length)[None]
    predicted = places[:, : length // 8]
    row = {"inputs": places % 512, "segment_ids": jnp.ones_like(places), "positions": places}
    row |= {"targets": predicted, "predicted_positions": predicted, "loss_weights": jnp.ones(predicted.shape)}

    def loss(parameters: Any) -> Any:
        return LanguageModel()(model.bind(parameters), row, None)[0].total

    parameters = jax.jit(model.init)(jax.random.key(0))
    compiled = jax.jit(jax.grad(loss)).lower(parameters).compile()
    return lambda: jax.block_until_ready(compiled(parameters)), compiled.memory_analysis().temp_size_in_bytes


def measure(length: int, repetitions: int) -> dict[str, Any]:
    """Returns seconds and temporary bytes with layers that all see all, and with two of three that see near tokens."""
    made = {name: gradient(length, every) for name, every in (("all", 1), ("near", 3))}
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(repetitions + 1):
        for name, (run, _) in made.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    medians = {f"{name}_seconds": statistics.median(times[1:]) for name, times in seconds.items()}
    return {"length": length} | medians | {f"{name}_bytes": size for name, (_, size) in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repetitions", type=int, default=5, help="of each, after one that warms (default: %(default)s)"
    )
    arguments = parser.parse_args()
    found = [measure(length, arguments.repetitions) for length in LENGTHS]
    RESULT.write_text(json.dumps({"environment": environment(), "found": found}, indent=2) + "\n", encoding="utf-8")
    rows = [
        [f"{row['length']:,}", f"{row['all_seconds']:.2f}", f"{row['near_seconds']:.2f}"]
        + [f"{row['all_seconds'] / row['near_seconds']:.2f}"]
        + [f"{row[f'{name}_bytes'] / 2**20:,.0f}" for name in ("all", "near")]
        for row in found
    ]
    headers = ("length", "all, s", "near, s", "ratio", "all, MiB", "near, MiB")
    print(format_table(headers, rows, ["right"] * len(headers)))


if __name__ == "__main__":
    main()
