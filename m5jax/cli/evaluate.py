"""`m5jax evaluate`: loss and masked-token accuracy per language of a trained run."""

import argparse
from pathlib import Path
from typing import Any

DESCRIPTION = """Evaluates a run on held-out data with fixed masks: loss and masked-token accuracy per language,
beside the accuracy of always predicting the most frequent training token.

  m5jax evaluate --run=runs/a
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="loss and accuracy per language of a run",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", dest="run_dir", required=True, type=Path, metavar="DIR", help="run directory")
    parser.add_argument("--step", type=int, help="checkpoint to evaluate (default: the newest intact one)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the figures as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from m5jax.data.load_tensorflow import load_tensorflow

    load_tensorflow()
    from m5jax.configuration.launch import evaluate_run

    print(evaluate_run(arguments.run_dir, arguments.step, arguments.output))
    return 0
