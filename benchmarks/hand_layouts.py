"""The planner's choice beside layouts that people write by hand, which of them fit by the compilers' word, and how fast
the cost model says they are.

    python benchmarks/hand_layouts.py

Needs `pip install 'm5jax[plan]'` and no accelerator. No step runs: which layout is faster on a cluster is not measured.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environment import environment
from benchmarks.scale import in_process, layout_of
from m5jax.configuration.plan import find_model
from m5jax.evaluation.tables import MISSING, format_table
from partitioning.mesh import MeshConfig, describe_sizes
from partitioning.planner import best_plans, make_plan
from partitioning.slices import parse_slice

RESULT = Path(__file__).resolve().parent / "results" / "hand_layouts.json"
ALIGN = ["left"] * 4 + ["right", "left"] + ["right"] * 3
HEADERS = ("model", "hardware", "by", "mesh", "parts", "remat", "GiB compiled", "of", "s a step")
# Model, hardware, rows a step, tokens a row: and by hand the mesh, the policy, parts, logits made at a time.
SETTINGS: dict[tuple[str, str, int, int], list[tuple[dict[str, int], str, int, int]]] = {
    ("encoder_500m", "h100:8", 512, 512): [
        ({"data": 8}, "none", 4, 39),
        ({"fsdp": 8}, "dots", 1, 39),
        ({"fsdp": 8}, "full", 1, 77),
        ({"data": 4, "tensor": 2}, "dots", 2, 39),
    ],
    ("encoder_decoder_1500m", "h100:2x8", 1024, 512): [
        ({"data": 16}, "dots", 2, 57),
        ({"fsdp": 16}, "full", 1, 57),
        ({"data": 2, "fsdp": 8}, "dots", 2, 57),
        ({"data": 4, "tensor": 4}, "full", 1, 57),
    ],
    ("encoder_10b", "h100:16x8", 1024, 512): [
        ({"fsdp": 128}, "dots", 1, 77),
        ({"data": 16, "fsdp": 8}, "full", 1, 77),
        ({"fsdp": 32, "tensor": 4}, "full", 1, 77),
        ({"fsdp": 16, "tensor": 8}, "dots", 1, 77),
    ],
    ("decoder_8b", "h200:8x8", 512, 2048): [
        ({"fsdp": 64}, "full", 1, 1024),
        ({"data": 8, "fsdp": 8}, "dots", 4, 1024),
        ({"fsdp": 64}, "dots", 2, 512),
        ({"fsdp": 8, "tensor": 8}, "full", 2, 1024),
    ],
    ("encoder_5b", "v6e:8x8", 1024, 512): [
        ({"fsdp": 64}, "full", 1, 77),
        ({"fsdp": 64}, "dots", 2, 77),
        ({"fsdp": 8, "tensor": 8}, "full", 1, 77),
        ({"data": 8, "fsdp": 8}, "full", 2, 77),
    ],
}


def compiled_bytes(row: dict[str, Any]) -> float | None:
    """Returns what the compiler's program of a row holds on a device; None where it is refused."""
    from partitioning.ahead_of_time import OutOfMemory, compile_program
    from partitioning.topologies import topology_devices

    slice_ = parse_slice(row["topology"])
    lowered = find_model(row["model"], row["tokens"]).lower(layout_of(row), topology_devices(slice_), row["rows"])
    try:
        return compile_program(lowered, slice_.chip.platform).memory
    except OutOfMemory:
        return None


def compare(setting: tuple[str, str, int, int]) -> list[dict[str, Any]]:
    """Returns the planner's choice and the layouts by hand of a setting, compiled and predicted."""
    name, hardware, rows, tokens = setting
    slice_, workload = parse_slice(hardware), find_model(name, tokens).workload()
    best = best_plans(workload, slice_, rows)[0].layout
    chosen = {
        "by": "planner",
        "mesh": best.mesh.sizes,
        "remat": list(best.remat),
        "accumulation": best.accumulation,
        "microbatches": best.microbatches,
        "rounds": best.rounds,
        "optimizer": best.optimizer,
        "chunk": best.chunk,
    }
    by_hand = [
        {"by": "hand", "mesh": {"data": 1, "fsdp": 1, "tensor": 1} | mesh, "remat": [policy], "accumulation": parts}
        | {"optimizer": "adamw", "chunk": chunk}
        for mesh, policy, parts, chunk in SETTINGS[setting]
    ]
    compared = []
    for case in [chosen, *by_hand]:
        row = {"model": name, "topology": hardware, "rows": rows, "tokens": tokens, **case}
        compiled = in_process(__file__, json.dumps(row))
        plan = make_plan(workload, slice_, rows, layout_of(row))
        figures = {"compiled_bytes": compiled, "memory_bytes": slice_.chip.memory, "step_seconds": plan.time.total}
        compared.append(row | figures | {"fits": compiled is not None and compiled < slice_.chip.memory})
    return compared


def line(row: dict[str, Any]) -> list[str]:
    """Returns the cells of a row."""
    compiled = MISSING if row["compiled_bytes"] is None else f"{row['compiled_bytes'] / 2**30:.1f}"
    return [
        row["model"],
        row["topology"],
        row["by"],
        describe_sizes(list(MeshConfig(**row["mesh"]).sizes.values())),
        str(row["accumulation"] * row.get("microbatches", 1)),
        "+".join(row["remat"]),
        compiled,
        f"{row['memory_bytes'] / 2**30:.1f}",
        f"{row['step_seconds']:.3f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        import jax

        jax.config.update("jax_platforms", "cpu")
        print(json.dumps(compiled_bytes(json.loads(arguments.row))))
        return
    rows: list[dict[str, Any]] = []
    for setting in SETTINGS:
        rows += compare(setting)
        RESULT.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n", encoding="utf-8")
        print(format_table(HEADERS, [line(row) for row in rows if row["model"] == setting[0]], ALIGN), flush=True)


if __name__ == "__main__":
    main()
