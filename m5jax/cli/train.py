"""`m5jax train`: launches or resumes the run that gin files describe."""

import argparse
from typing import Any

from m5jax.cli.training import run_training
from m5jax.configuration.command_line import add_train_flags, read_train
from m5jax.configuration.flags import join_others

DESCRIPTION = """Trains the run that gin files describe, or resumes it where its run directory holds checkpoints.

  m5jax train --gin_file=gin_configs/experiments/quickstart.gin --gin.TRAIN_STEPS=500 --gin.RUN_DIR="'runs/a'"

Every parameter of every gin file can be set on the command line: --gin.NAME=VALUE, where NAME is a macro
(TRAIN_STEPS) or a parameter (EncoderConfig.layers) and VALUE is written as in gin (strings in quotes).

Several processes train one run, a process a host (m5jax launch writes the files that start them), where each is told of
the others: --coordinator=HOST:PORT --processes=N --process=I, or --distributed where SLURM, Kubernetes or a TPU tells.
Their versions, devices, configuration and data must be equal; RUN_DIR must be on storage that all share.

The run directory holds afterwards: checkpoints/, config.gin (every value used), vocabulary/, metrics.jsonl,
tensorboard/, logs/ (a file a process), summary.json, samples.json (masked texts, filled) and report.html.

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
    add_train_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from m5jax.data.load_tensorflow import load_tensorflow
    from m5jax.training.processes import failing_together

    join_others(arguments)
    with failing_together():
        configured = read_train(arguments)
        load_tensorflow()  # seconds: only once the configuration is sound
    from m5jax.configuration.launch import train_run

    return run_training(train_run, configured)
