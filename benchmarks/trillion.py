"""The smallest slices on which the planner finds room for a trillion parameters, by prediction.

    python benchmarks/trillion.py

The model is the last of Megatron-LM's (`benchmarks/published.py`), 2,048 rows of 2,048 tokens a step.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environment import environment
from benchmarks.published import RUNS
from benchmarks.scale import write_page
from m5jax.evaluation.tables import format_table
from partitioning.layout import OPTIMIZERS
from partitioning.mesh import MeshConfig, describe_sizes
from partitioning.planner import best_plans, smallest_slice
from partitioning.slices import parse_slice

RESULT = Path(__file__).resolve().parent / "results" / "trillion.json"
MODEL, ROWS = "Megatron-LM 1008.0B", 2048
CHIPS = ("v5p:4x4x4", "h200:8")
HEADERS = ("optimizer", "smallest slice", "devices", "mesh", "parts", "remat", "GiB", "of", "s a step", "of peak")


def hold(chip: str, optimizer: str) -> dict[str, Any]:
    """Returns the best plan of the smallest slice of a chip that holds the model."""
    workload = next(run for run in RUNS if run.name == MODEL).workload(None)
    smallest = smallest_slice(workload, parse_slice(chip), ROWS, (optimizer,))
    if smallest is None:
        raise SystemExit(f"{MODEL} fits on no slice of {chip} with {optimizer}")
    plan = best_plans(workload, smallest, ROWS, (optimizer,))[0]
    return {
        "slice": plan.slice_.name,
        "devices": plan.slice_.size,
        "optimizer": plan.layout.optimizer,
        "mesh": plan.layout.mesh.sizes,
        "parts": plan.layout.accumulation * plan.layout.microbatches,
        "remat": plan.layout.remat,
        "bytes": plan.memory.total,
        "memory_bytes": plan.slice_.chip.memory,
        "step_seconds": plan.time.total,
        "utilization": plan.utilization(workload),
    }


def table(held: list[dict[str, Any]]) -> str:
    rows = [
        [
            row["optimizer"],
            row["slice"],
            str(row["devices"]),
            describe_sizes(list(MeshConfig(**row["mesh"]).sizes.values())),
            str(row["parts"]),
            "+".join(row["remat"]),
            f"{row['bytes'] / 2**30:.1f}",
            f"{row['memory_bytes'] / 2**30:.1f}",
            f"{row['step_seconds']:.0f}",
            f"{row['utilization']:.0%}",
        ]
        for row in held
    ]
    return format_table(HEADERS, rows, ["left", "left", "right", "left", "right", "left", *["right"] * 4])


def main() -> None:
    held = [hold(chip, optimizer) for chip in CHIPS for optimizer in OPTIMIZERS]
    RESULT.write_text(json.dumps({"environment": environment(), "slices": held}, indent=1) + "\n", encoding="utf-8")
    print(table(held))
    write_page("trillion", table(held))


if __name__ == "__main__":
    main()
