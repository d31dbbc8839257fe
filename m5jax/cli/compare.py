"""`m5jax compare`: whether one run's evaluation is better than another's."""

import argparse
from pathlib import Path
from typing import Any

from m5jax.configuration.flags import positive

DESCRIPTION = """Compares evaluations on the same data: each metric of both, the difference with its 95% interval
(paired bootstrap) and its p-value (paired permutation test), corrected for the number of metrics (Holm). Several runs
are each compared with the first.

  m5jax compare runs/a runs/b
  m5jax compare runs/a runs/b runs/c --evaluation=duplicates --output=comparison
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "compare",
        help="differences between evaluations, and whether they are chance",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("first", type=Path, metavar="RUN", help="run directory, or the folder of an evaluation")
    parser.add_argument("others", type=Path, nargs="+", metavar="RUN", help="what is compared with it")
    parser.add_argument("--evaluation", metavar="NAME", help="which, of run directories that hold several")
    parser.add_argument("--output", type=Path, metavar="DIR", help="also write a report here; must not exist")
    parser.add_argument(
        "--samples", type=positive, default=1000, help="of bootstrap and permutations (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of both, 0 and above (default: 0)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from m5jax.evaluation.compare import compare
    from m5jax.evaluation.compare_report import comparison_text, write_comparisons
    from m5jax.evaluation.reports import check_new_folder

    if arguments.output:
        check_new_folder(arguments.output)
    comparisons = []
    for other in arguments.others:
        found = compare(arguments.first, other, arguments.evaluation, arguments.samples, arguments.seed)
        print(comparison_text(found), end="\n\n")
        comparisons.append(found)
    if arguments.output:
        print(f"written to {write_comparisons(arguments.output, comparisons)}")
    return 0
