"""How long imports take in a fresh process: a table, and benchmarks/results/import_time.json.

    python benchmarks/import_time.py [--repeats 5]

The first process of each is not counted: it fills the file cache and writes bytecode.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environment import environment

RESULTS = Path(__file__).parent / "results" / "import_time.json"
TARGET_SECONDS = 2.5  # for "m5jax, m5jax.training, m5jax.models"
IMPORTS = ("numpy", "jax", "jax, flax.nnx", "m5jax, m5jax.training, m5jax.models", "m5jax.training.loop")
CODE = "import time; started = time.perf_counter(); import {names}; print(time.perf_counter() - started)"


def seconds(names: str) -> float:
    """Returns how long `import names` takes in a fresh interpreter, its own start left out."""
    command = [sys.executable, "-c", CODE.format(names=names)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="processes a line of the table")
    repeats = parser.parse_args().repeats
    rows = []
    for names in IMPORTS:
        seconds(names)
        times = [seconds(names) for _ in range(repeats)]
        rows.append({"import": names, "median": statistics.median(times), "least": min(times), "most": max(times)})
    print(tabulate(rows, headers="keys", floatfmt=".2f"))
    print(f"\nseconds over {repeats} processes; the target for m5jax, m5jax.training, m5jax.models: {TARGET_SECONDS}")
    result = {
        "seconds": rows,
        "repeats": repeats,
        "target": TARGET_SECONDS,
        "environment": environment(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
