"""The best learning rate of narrow and of wide encoders, with the maximal-update and the standard parametrization.

    M5JAX_DATA=DATA python benchmarks/rate_transfer.py

Trains encoders of width 128, 256 and 512 on real text in three languages, the same rows, at rates a factor of two apart
and measures the loss of held-out text. Writes benchmarks/results/rate_transfer.json after each run, goes on with those
that are missing there, and draws docs/images/rate_transfer.png. At width 128, the base, both parametrizations are one.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environment import environment
from benchmarks.mixtures import real_text_vocabulary
from benchmarks.train_run import REPOSITORY, measure_run, run_command
from m5jax.evaluation.tables import format_table

RESULT = REPOSITORY / "benchmarks" / "results" / "rate_transfer.json"
PICTURE = REPOSITORY / "docs" / "images" / "rate_transfer.png"
GIN_FILE = "gin_configs/experiments/rate_transfer.gin"
MIXTURE = "multilingual_text_mlm"
BASE, WIDTHS = 128, (128, 256, 512)
PEAKS = tuple(5e-4 * 2**power for power in range(7))
# What changes the runs; the settings of the parametrizations.
SHAPE = {"LENGTH": 128, "BATCH_SIZE": 16, "Cosine.warmup_steps": 50, "EncoderConfig.vocab_size": 18432}
SHAPE |= {"Proportional.alpha": 0.3, "EncoderConfig.layers": 4}
PARAMETRIZATIONS: dict[str, dict[str, Any]] = {"maximal update": {}, "standard": {"EncoderConfig.maximal_update": None}}


def write_rows(directory: Path, seed: int, steps: int) -> Path:
    """Returns the folder with a seed's rows, written by the first call."""
    rows = directory / f"{seed}_{steps}"
    if not rows.is_dir():
        settings = {"DataConfig.seed": seed, "RUN_DIR": "none", "TRAIN_STEPS": steps}
        run_command(["data", "materialize", f"--steps={steps}", f"--output={rows}"], GIN_FILE, data() | settings)
    return rows


def data() -> dict[str, Any]:
    vocabulary = str(real_text_vocabulary(MIXTURE, 0))
    return {"VOCABULARY": vocabulary, "MIXTURE": MIXTURE, "DataConfig.evaluation_examples": 300} | SHAPE


def train(rows: Path, parametrization: str, width: int, peak: float, seed: int, steps: int) -> dict[str, Any]:
    """Returns the figures of one run, with the mean loss over languages."""
    bindings = data() | PARAMETRIZATIONS[parametrization] | {"DataConfig.materialized": str(rows), "Cosine.peak": peak}
    bindings |= {"WIDTH": width, "HEADS": width // 32, "MLP_HIDDEN": 2 * width}
    run = measure_run(GIN_FILE, MIXTURE, steps, seed, bindings)
    losses = [found["loss"] for found in run["tasks"].values()]
    return {"parametrization": parametrization, "width": width, "peak": peak, "loss": sum(losses) / len(losses)} | run


def mean_losses(runs: Sequence[dict[str, Any]], parametrization: str, width: int) -> dict[float, float]:
    """Returns the loss at each rate, the mean over seeds."""
    found = [
        run for run in runs if run["width"] == width and (width == BASE or run["parametrization"] == parametrization)
    ]
    losses = {
        peak: [run["loss"] for run in found if run["peak"] == peak] for peak in sorted({r["peak"] for r in found})
    }
    return {peak: sum(of_peak) / len(of_peak) for peak, of_peak in losses.items()}


def losses_table(runs: Sequence[dict[str, Any]]) -> str:
    rows = []
    for name in PARAMETRIZATIONS:
        for width in WIDTHS:
            losses = mean_losses(runs, name, width)
            if losses:
                best = min(losses, key=losses.__getitem__)
                cells = [f"{losses[peak]:.3f}" if peak in losses else "" for peak in PEAKS]
                rows.append([name, str(width), *cells, f"{best:g}"])
    headers = ("parametrization", "width", *(f"{peak:g}" for peak in PEAKS), "best")
    return format_table(headers, rows, ("left", *["right"] * (len(headers) - 1)))


def draw(runs: Sequence[dict[str, Any]]) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for axis, name in zip(axes, PARAMETRIZATIONS, strict=True):
        for width in WIDTHS:
            losses = mean_losses(runs, name, width)
            axis.plot(losses.keys(), losses.values(), marker="o", label=f"width {width}")
        axis.set(title=name, xscale="log", xlabel="peak learning rate")
    axes[0].set_ylabel("held-out loss")
    axes[0].legend()
    figure.savefig(PICTURE, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=250, help="of each run (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each setting (default: %(default)s)")
    parser.add_argument("--peaks", type=float, nargs="+", default=PEAKS, choices=PEAKS, help="(default: all)")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS, choices=WIDTHS, help="(default: all)")
    arguments = parser.parse_args()
    runs = json.loads(RESULT.read_text(encoding="utf-8"))["runs"] if RESULT.is_file() else []
    runs = [run for run in runs if run["steps"] == arguments.steps]
    done = {(run["parametrization"], run["width"], run["peak"], run["seed"], run["steps"]) for run in runs}
    settings = [
        (name, width, peak, seed, arguments.steps)
        for seed in range(arguments.seeds)
        for width in arguments.widths
        for name in (("maximal update",) if width == BASE else PARAMETRIZATIONS)
        for peak in arguments.peaks
    ]
    with tempfile.TemporaryDirectory() as directory:
        for setting in settings:
            if setting in done:
                continue
            rows = write_rows(Path(directory), *setting[-2:])
            runs.append({"environment": environment()} | train(rows, *setting))
            RESULT.write_text(json.dumps({"runs": runs}, indent=2) + "\n", encoding="utf-8")
            print(*setting, f"loss {runs[-1]['loss']:.3f}", f"{runs[-1]['seconds']:.0f} s", flush=True)
    print(losses_table(runs))
    draw(runs)


if __name__ == "__main__":
    main()
