"""Fits the copies of `partitioning.memory_model` to what the compilers' programs hold.

    python benchmarks/memory_fit.py

The programs are those of `benchmarks/scale.py`, which the planner chose, and of `benchmarks/hand_layouts.py`: other
policies, batches in parts, `tensor`, replicas. How well a fit predicts is seen where one to all models but one predicts
that one's programs.
"""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environment import environment
from benchmarks.hand_layouts import RESULT as BY_HAND
from benchmarks.scale import RESULT as CHOSEN
from benchmarks.scale import layout_of
from m5jax.configuration.plan import find_model
from m5jax.evaluation.tables import format_table
from partitioning.memory_model import Copies, step_memory
from partitioning.slices import parse_slice
from partitioning.workload import Workload

RESULT = Path(__file__).resolve().parent / "results" / "memory_fit.json"
PLATFORMS = ("cuda", "tpu")
STARTS, MOST = 24, 25.0  # of the search for a fit, and copies
Row = dict[str, Any]


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
    return {
        "programs": len(rows),
        "copies": dict(zip(Copies.__dataclass_fields__, copies, strict=True)),
        "least": round(float(ratios.min()), 3),
        "most": round(float(ratios.max()), 3),
        "within a tenth": int(np.sum(np.abs(ratios - 1) <= 0.1)),
        "least, model left out": round(float(left_out.min()), 3),
        "most, model left out": round(float(left_out.max()), 3),
        "within a tenth, model left out": int(np.sum(np.abs(left_out - 1) <= 0.1)),
    }


def main() -> None:
    rows = [row for path in (CHOSEN, BY_HAND) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]
    fits = {platform: summarize(platform, [row for row in rows if row["compiled_bytes"]]) for platform in PLATFORMS}
    result = {"environment": environment(), "fits": fits}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    lines = [[name, *(str(fits[platform]["copies"][name]) for platform in PLATFORMS)] for name in fits["tpu"]["copies"]]
    lines += [
        [name, *(str(fits[platform][name]) for platform in PLATFORMS)] for name in fits["tpu"] if name != "copies"
    ]
    print(format_table(("copies", *PLATFORMS), lines, ["left", "right", "right"]))


if __name__ == "__main__":
    main()
