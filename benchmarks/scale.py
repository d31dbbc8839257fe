"""Every size of the family on a TPU and a GPU topology: what the planner chooses, and what the real compilers say.

    python benchmarks/scale.py               # rows that benchmarks/results/scale.json lacks, and the table
    python benchmarks/scale.py --again       # all rows anew

Needs `pip install 'm5jax[plan]'` and no accelerator. Each row is compiled in a process of its own, whose peak memory
and time are those of `m5jax plan --verify`.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environment import environment

RESULT = Path(__file__).resolve().parent / "results" / "scale.json"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
SMALL = ("2m", "20m", "60m", "110m")
# Size: topologies, rows a step and tokens a row.
PLACES: dict[str, tuple[tuple[str, ...], int, int]] = {
    **dict.fromkeys(SMALL, (("v5e:2x2", "a100-40gb:4"), 256, 512)),
    "500m": (("v5e:4x4", "h100:8"), 512, 512),
    "1b": (("v6e:4x4", "h100:8"), 128, 2048),
    "1500m": (("v5e:8x8", "h100:2x8"), 1024, 512),
    "5b": (("v6e:8x8", "h100:8x8"), 1024, 512),
    "8b": (("v5p:4x4x4", "h200:8x8"), 512, 2048),
    "10b": (("v5p:4x4x4", "h100:16x8"), 1024, 512),
    "20b": (("v5p:4x4x8", "h200:16x8"), 1024, 512),
    "70b": (("v5p:8x8x8", "h200:32x8"), 1024, 2048),
    "100b": (("v5p:8x8x8", "h200:32x8"), 2048, 512),
    "405b": (("v5p:16x16x16", "h200:128x8"), 4096, 2048),
}
KINDS = {
    "encoder": (*SMALL, "500m", "1500m", "5b", "10b", "20b", "100b"),
    "encoder_decoder": (*SMALL, "500m", "1500m", "5b", "10b", "20b", "100b"),
    "decoder": (*SMALL, "1b", "8b", "70b", "405b"),
}
TRIES = 5  # plans, where the compiler refuses the one before
HEADERS = ("model", "topology", "mesh", "parts", "remat", "optimizer", "GiB predicted", "compiled", "of", "ratio", "s")


def rows() -> list[tuple[str, str, int, int]]:
    """Returns model, topology, rows a step and tokens a row of all compilations."""
    return [
        (f"{kind}_{size}", topology, PLACES[size][1], PLACES[size][2])
        for kind, sizes in KINDS.items()
        for size in sizes
        for topology in PLACES[size][0]
    ]


def measure(name: str, hardware: str, batch: int, length: int) -> dict[str, Any]:
    """Returns the best plan that the compiler takes, its bytes predicted and compiled, and what that took."""
    from m5jax.configuration.plan import find_model
    from partitioning.ahead_of_time import OutOfMemory, compile_program
    from partitioning.planner import best_plans
    from partitioning.slices import parse_slice
    from partitioning.topologies import topology_devices

    slice_, model = parse_slice(hardware), find_model(name, length)
    began = time.monotonic()
    workload = model.workload()
    plans = best_plans(workload, slice_, batch)
    planned, refused = time.monotonic() - began, []
    for plan in plans[:TRIES]:
        began = time.monotonic()
        lowered = model.lower(plan.layout, topology_devices(slice_), batch)
        lowering = time.monotonic() - began
        found = {
            "mesh": plan.layout.mesh.sizes,
            "accumulation": plan.layout.accumulation,
            "microbatches": plan.layout.microbatches,
            "rounds": plan.layout.rounds,
            "remat": list(plan.layout.remat),
            "optimizer": plan.layout.optimizer,
            "chunk": plan.layout.chunk,
            "predicted_bytes": plan.memory.total,
        }
        try:
            compiled = compile_program(lowered, slice_.chip.platform)
        except OutOfMemory as error:
            refused.append(found | {"error": str(error)})
            continue
        found |= {"compiled_bytes": compiled.memory, "argument_bytes": compiled.arguments}
        if compiled.memory > slice_.chip.memory:
            refused.append(found)
            continue
        return found | {
            "memory_bytes": slice_.chip.memory,
            "parameters": workload.parameters,
            "step_seconds": plan.time.total,
            "utilization": plan.utilization(workload),
            "plan_seconds": round(planned, 2),
            "lower_seconds": round(lowering, 1),
            "compile_seconds": round(compiled.seconds, 1),
            "process_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "refused": refused,
        }
    return {"refused": refused}


def in_process(script: str, *row: str) -> Any:
    """Returns what a benchmark finds of a row, from a process of its own."""
    command = [sys.executable, str(Path(script).resolve()), "--row", *row]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{row}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def layout_of(row: dict[str, Any]) -> Any:
    """Returns the layout of a row."""
    from partitioning.layout import Layout
    from partitioning.mesh import MeshConfig

    names = ("accumulation", "optimizer", "chunk", "microbatches", "rounds")
    known = {name: row[name] for name in names if name in row}
    return Layout(MeshConfig(**row["mesh"]), remat=tuple(row["remat"]), **known)


def predicted_bytes(row: dict[str, Any]) -> float:
    """Returns what the memory model of today says of a row, which chose its layout as it was then."""
    from m5jax.configuration.plan import find_model
    from partitioning.memory_model import step_memory
    from partitioning.slices import parse_slice

    workload = find_model(row["model"], row["tokens"]).workload()
    return step_memory(workload, layout_of(row), parse_slice(row["topology"]).chip, row["rows"]).total


def table(measured: list[dict[str, Any]]) -> str:
    from m5jax.evaluation.tables import MISSING, format_table
    from partitioning.mesh import MeshConfig, describe_sizes

    lines = []
    for row in measured:
        if "compiled_bytes" not in row:
            lines.append([row["model"], row["topology"], *[MISSING] * 9])
            continue
        predicted = predicted_bytes(row)
        ratio = predicted / row["compiled_bytes"]
        gib = [f"{bytes_ / 2**30:.2f}" for bytes_ in (predicted, row["compiled_bytes"], row["memory_bytes"])]
        mesh = describe_sizes(list(MeshConfig(**row["mesh"]).sizes.values()))
        lines.append(
            [
                row["model"],
                row["topology"],
                mesh,
                str(row["accumulation"] * row.get("microbatches", 1)),
                "+".join(row["remat"]),
                row["optimizer"],
                *gib,
                f"{ratio:.2f}",
                f"{row['compile_seconds']:.0f}",
            ]
        )
    return format_table(HEADERS, lines, ["left"] * 3 + ["right", "left", "left"] + ["right"] * 5)


def write_page(name: str, text: str) -> None:
    """Puts a table between its marks in docs/scale.md."""
    before, rest = PAGE.read_text(encoding="utf-8").split(f"<!-- {name} -->\n")
    after = rest.partition(f"<!-- end of {name} -->")[2]
    PAGE.write_text(f"{before}<!-- {name} -->\n```\n{text}\n```\n<!-- end of {name} -->{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="measure all rows anew")
    parser.add_argument("--only", default="", help="rows whose model and topology hold this text")
    parser.add_argument("--row", nargs=4, metavar=("MODEL", "TOPOLOGY", "ROWS", "TOKENS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        import jax

        jax.config.update("jax_platforms", "cpu")
        name, hardware, batch, length = arguments.row
        print(json.dumps(measure(name, hardware, int(batch), int(length))))
        return
    known = json.loads(RESULT.read_text(encoding="utf-8"))["rows"] if RESULT.exists() else []
    kept = {} if arguments.again else {(row["model"], row["topology"]): row for row in known}
    for row in rows():
        if row[:2] not in kept and arguments.only in f"{row[0]} {row[1]}":
            found = {
                "model": row[0],
                "topology": row[1],
                "rows": row[2],
                "tokens": row[3],
                **in_process(__file__, *map(str, row)),
            }
            kept[row[:2]] = found
            print(table([found]), flush=True)
            ordered = [kept[other[:2]] for other in rows() if other[:2] in kept]
            result = {"environment": environment(), "rows": ordered}
            RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    whole = table([kept[row[:2]] for row in rows() if row[:2] in kept])
    print(whole)
    write_page("sizes", whole)


if __name__ == "__main__":
    main()
