"""Fits the copies of `partitioning.memory_model` to what the compilers' programs hold.

    python benchmarks/memory_fit.py             # programs that benchmarks/results/memory_fit.json lacks, and the fit
    python benchmarks/memory_fit.py --again     # all programs anew

The programs are those of `benchmarks/scale.py`, which the planner chose, and others of the same models that it did not:
all policies, batches in parts, `tensor`, replicas, Adafactor. Needs `pip install 'm5jax[plan]'` and no accelerator.
How well a fit predicts is seen where one to all models but one predicts that one's programs.
"""

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environment import environment
from benchmarks.scale import RESULT as SCALE
from benchmarks.scale import layout_of
from m5jax.configuration.plan import find_model
from m5jax.evaluation.tables import format_table
from partitioning.memory_model import Copies, step_memory
from partitioning.slices import parse_slice
from partitioning.workload import Workload

RESULT = Path(__file__).resolve().parent / "results" / "memory_fit.json"
PLATFORMS = ("cuda", "tpu")
# Model: topologies, rows a step, tokens a row, logits made at a time.
MODELS = {
    "encoder_110m": (("a100-40gb:4", "v5e:2x2"), 256, 512, 26),
    "encoder_decoder_110m": (("a100-40gb:4", "v5e:2x2"), 256, 512, 29),
    "decoder_110m": (("a100-40gb:4", "v5e:2x2"), 256, 512, 32),
    "encoder_1500m": (("h100:2x8", "v5e:8x8"), 1024, 512, 77),
    "encoder_decoder_1500m": (("h100:2x8", "v5e:8x8"), 1024, 512, 57),
    "decoder_8b": (("h200:8x8", "v5p:4x4x4"), 512, 2048, 1024),
}
STARTS, MOST = 24, 25.0  # of the search for a fit, and copies
Row = dict[str, Any]


def programs() -> Iterator[Row]:
    """Yields models and layouts, without bytes."""
    for model, (topologies, rows, tokens, chunk) in MODELS.items():
        for topology in topologies:
            size = parse_slice(topology).size
            plain = {"accumulation": 1, "remat": ["dots"], "optimizer": "adamw", "chunk": chunk}
            cases: list[Row] = [{"remat": [policy]} for policy in ("dots", "attention_saved", "full")]
            if size > 4:
                cases = [
                    {"remat": ["full"]},
                    {"remat": ["full"], "mesh": {"fsdp": size // 4, "tensor": 4}},
                    {"mesh": {"data": 4, "fsdp": size // 4}, "optimizer": "adafactor"},
                    {"remat": ["none"], "accumulation": 4},
                ]
            for case in cases:
                mesh = {"data": 1, "fsdp": size, "tensor": 1} | case.get("mesh", {})
                yield {
                    "model": model,
                    "topology": topology,
                    "rows": rows,
                    "tokens": tokens,
                    **plain,
                    **case,
                    "mesh": mesh,
                }


def compiled_bytes(row: Row) -> float | None:
    """Returns what the compiler's program of a row holds on a device; None where it is refused."""
    from partitioning.ahead_of_time import OutOfMemory, compile_program
    from partitioning.topologies import topology_devices

    slice_ = parse_slice(row["topology"])
    lowered = find_model(row["model"], row["tokens"]).lower(layout_of(row), topology_devices(slice_), row["rows"])
    try:
        return compile_program(lowered, slice_.chip.platform).memory
    except OutOfMemory:
        return None


def in_process(row: Row) -> float | None:
    """Returns `compiled_bytes`, from a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--row", json.dumps(row)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{row}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def logarithms(copies: Sequence[float], rows: Sequence[Row], workloads: dict[str, Workload]) -> np.ndarray:
    """Returns, of each row, the logarithm of predicted over compiled bytes."""
    found = []
    for row in rows:
        chip = parse_slice(row["topology"]).chip
        memory = step_memory(workloads[row["model"]], layout_of(row), chip, row["rows"], Copies(*copies))
        found.append(math.log(memory.total / row["compiled_bytes"]))
    return np.array(found)


def fit(rows: Sequence[Row], workloads: dict[str, Workload], starts: int = STARTS) -> list[float]:
    """Returns the copies that predict the rows best, of local optima from some starts."""
    random, names = np.random.default_rng(0), list(Copies.__dataclass_fields__)

    def errors(copies: np.ndarray) -> np.ndarray:
        # What no row depends on goes to 0.
        return np.concatenate([logarithms(copies, rows, workloads), 2e-3 * copies / (1 + copies)])

    found = [
        least_squares(errors, random.uniform(0, 5, len(names)), bounds=(0, MOST), loss="soft_l1", f_scale=0.05)
        for _ in range(starts)
    ]
    return [round(float(value), 2) for value in min(found, key=lambda result: result.cost).x]


def measure_left_out(rows: Sequence[Row], workloads: dict[str, Workload]) -> list[float]:
    """Returns, of each row, predicted over compiled bytes where the fit is to the other models."""
    ratios = {}
    for model in sorted({row["model"] for row in rows}):
        others, own = ([row for row in rows if (row["model"] == model) is own] for own in (False, True))
        copies = fit(others, workloads, starts=4)
        ratios |= {id(row): math.exp(value) for row, value in zip(own, logarithms(copies, own, workloads), strict=True)}
    return [ratios[id(row)] for row in rows]


def summarize(platform: str, rows: Sequence[Row]) -> Row:
    """Fits a platform's copies and returns them, and how they predict."""
    rows = [row for row in rows if parse_slice(row["topology"]).chip.platform == platform]
    workloads = {row["model"]: find_model(row["model"], row["tokens"]).workload() for row in rows}
    copies = fit(rows, workloads)
    ratios = np.exp(logarithms(copies, rows, workloads))
    left_out = np.array(measure_left_out(rows, workloads))
    for row, ratio, other in zip(rows, ratios, left_out, strict=True):
        row |= {"ratio": round(float(ratio), 3), "ratio_left_out": round(float(other), 3)}
    return {
        "programs": len(rows),
        "copies": dict(zip(Copies.__dataclass_fields__, copies, strict=True)),
        "least": round(float(ratios.min()), 3),
        "most": round(float(ratios.max()), 3),
        "within_a_tenth": int(np.sum(np.abs(ratios - 1) <= 0.1)),
        "within_a_tenth_left_out": int(np.sum(np.abs(left_out - 1) <= 0.1)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="compile all programs anew")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        import jax

        jax.config.update("jax_platforms", "cpu")
        print(json.dumps(compiled_bytes(json.loads(arguments.row))))
        return
    known = [] if arguments.again or not RESULT.exists() else json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    rows = []
    for row in programs():
        same = [other for other in known if row.items() <= other.items()]
        rows.append(same[0] if same else row | {"compiled_bytes": in_process(row)})
        if not same:
            print(row["model"], row["topology"], row["remat"], row["mesh"], rows[-1]["compiled_bytes"], flush=True)
            others = [other for other in known if other not in rows]
            RESULT.write_text(json.dumps({"rows": rows + others}, indent=1) + "\n", encoding="utf-8")
    chosen = json.loads(SCALE.read_text(encoding="utf-8"))["rows"]
    both = [row for row in [*chosen, *rows] if row.get("compiled_bytes")]
    fits = {platform: summarize(platform, both) for platform in PLATFORMS}
    result = {"environment": environment(), "fits": fits, "rows": rows}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    lines = [[name, *(str(fits[platform]["copies"][name]) for platform in PLATFORMS)] for name in fits["tpu"]["copies"]]
    lines += [
        [name, *(str(fits[platform][name]) for platform in PLATFORMS)] for name in fits["tpu"] if name != "copies"
    ]
    print(format_table(("copies", *PLATFORMS), lines, ["left", "right", "right"]))


if __name__ == "__main__":
    main()
