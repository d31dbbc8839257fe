"""`m5jax train`: launches or resumes the run that gin files describe."""

import argparse
from typing import Any

DESCRIPTION = """Trains the run that gin files describe, or resumes it where its run directory holds checkpoints.

  m5jax train --gin_file=gin_configs/experiments/quickstart.gin --gin.TRAIN_STEPS=500 --gin.RUN_DIR="'runs/a'"

Every parameter of every gin file can be set on the command line: --gin.NAME=VALUE, where NAME is a macro
(TRAIN_STEPS) or a parameter (EncoderConfig.layers) and VALUE is written as in gin (strings in quotes).

The run directory holds afterwards: checkpoints/, config.gin (every value used), vocabulary/, metrics.jsonl,
tensorboard/, summary.json and report.html.

Exit status: 0 done; 2 something to mend; 75 stopped by SIGTERM or Ctrl-C with a checkpoint saved (run it again).
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "train",
        help="train or resume the run that gin files describe",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--gin_file",
        action="append",
        required=True,
        metavar="FILE",
        help="gin file; may be given several times",
    )
    parser.add_argument("--gin", action="append", default=[], metavar="NAME=VALUE", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def split_gin_overrides(arguments: list[str]) -> list[str]:
    """Returns the arguments with each `--gin.NAME=VALUE` rewritten to `--gin NAME=VALUE`, which argparse can read."""
    rewritten: list[str] = []
    for argument in arguments:
        if argument.startswith("--gin."):
            rewritten += ["--gin", argument.removeprefix("--gin.")]
        else:
            rewritten.append(argument)
    return rewritten


def run(arguments: argparse.Namespace) -> int:
    from m5jax.configuration.load import load_run
    from m5jax.data.load_tensorflow import load_tensorflow
    from m5jax.training.interruption import EXIT_INTERRUPTED, TrainingInterrupted

    configured = load_run(arguments.gin_file, arguments.gin)
    load_tensorflow()  # seconds: only once the configuration is sound
    from m5jax.configuration.launch import train_run

    try:
        print(train_run(configured))
    except TrainingInterrupted as interruption:
        print(f"m5jax: {interruption}")
        return EXIT_INTERRUPTED
    return 0
