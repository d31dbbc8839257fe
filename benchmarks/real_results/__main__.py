"""Makes the parts named, or all; see the docstring of the package."""

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import benchmarks.real_results
from benchmarks.real_results.bench import Bench, Jobs, run_jobs
from benchmarks.real_results.duplicates import add_published, duplicates, labels
from benchmarks.real_results.pretraining import comparison, pretrain
from benchmarks.real_results.search import search, search_training
from benchmarks.real_results.understanding import attributes, understanding

# Jobs of a step run side by side; the steps of a part one after the other.
PARTS: Mapping[str, tuple[Callable[[Bench], Jobs], ...]] = {
    "duplicates": (duplicates,),
    "labels": (labels,),
    "search": (search_training, search),
    "understanding": (understanding,),
    "attributes": (attributes,),
    "comparison": (comparison,),
}

ASIDE = "comparison"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real_results",
        description=benchmarks.real_results.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--part",
        action="append",
        choices=("pretrain", *PARTS),
        help=f"only this; several times (default: all but {ASIDE})",
    )
    parser.add_argument(
        "--work", type=Path, default=Path("runs/real_results"), help="folder of runs (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=4000, help="of pre-training (default: %(default)s)")
    arguments = parser.parse_args()
    if "M5JAX_DATA" not in os.environ:
        parser.error("the environment variable M5JAX_DATA names the folder of the data, and is not set")
    bench = Bench(Path(os.environ["M5JAX_DATA"]), arguments.work.resolve())
    add_published(bench)
    pretrain(bench, arguments.steps)
    for part, steps in PARTS.items():
        if part in (arguments.part or set(PARTS) - {ASIDE}):
            for step in steps:
                run_jobs(bench, part, step(bench))


if __name__ == "__main__":
    main()
