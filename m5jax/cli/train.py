"""`m5jax train`: launches or resumes the run that gin files describe."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from m5jax.cli.flags import add_process_flags, join_others
from m5jax.cli.training import run_training
from m5jax.errors import UserError

if TYPE_CHECKING:
    from m5jax.configuration.run import Run

DESCRIPTION = """Trains the run that gin files describe, or resumes it where its run directory holds checkpoints.

  m5jax train --gin_file=gin_configs/experiments/quickstart.gin --gin.TRAIN_STEPS=500 --gin.RUN_DIR="'runs/a'"

Every parameter of every gin file can be set on the command line: --gin.NAME=VALUE, where NAME is a macro
(TRAIN_STEPS) or a parameter (EncoderConfig.layers) and VALUE is written as in gin (strings in quotes).

Several processes train one run, a process a host (m5jax launch writes the files that start them), where each is told of
the others: --coordinator=HOST:PORT --processes=N --process=I, or --distributed where SLURM, Kubernetes or a TPU tells.
Their versions, devices, configuration and data must be equal; RUN_DIR must be on storage that all share.

The run directory holds afterwards: checkpoints/, config.gin (every value used), vocabulary/, metrics.jsonl,
tensorboard/, logs/ (a file a process), summary.json and report.html.

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
    add_process_flags(parser)
    parser.set_defaults(run=run)


def split_gin_overrides(arguments: list[str]) -> list[str]:
    """Returns the arguments with each `--gin.NAME=VALUE` rewritten to `--gin NAME=VALUE`, which argparse can read.

    Those after `--` are another command's.
    """
    rewritten: list[str] = []
    for place, argument in enumerate(arguments):
        if argument == "--":
            return rewritten + arguments[place:]
        if argument.startswith("--gin."):
            rewritten += ["--gin", argument.removeprefix("--gin.")]
        else:
            rewritten.append(argument)
    return rewritten


def parse_run(command: list[str]) -> "Run":
    """Returns the run of a command line that begins with `train`; raises UserError where it is none."""
    from m5jax.configuration.load import load_run

    parsed = parse_after_dashes(command, add_parser)
    return load_run(parsed.gin_file, parsed.gin)


def parse_after_dashes(command: list[str], *parsers: Callable[[Any], None]) -> argparse.Namespace:
    """Returns the arguments of a command that stands after the -- of another, one of those that `parsers` add.

    Raises:
        UserError: it is none of these, or of one of several processes.
    """
    parser = _Parser(allow_abbrev=False)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in parsers:
        add(subparsers)
    parsed = parser.parse_args(split_gin_overrides(command))
    if parsed.distributed or (parsed.coordinator, parsed.processes, parsed.process) != (None,) * 3:
        raise UserError("after -- stands the command of one machine, without --distributed and --coordinator")
    return parsed


class _Parser(argparse.ArgumentParser):
    """Raises what it would end the process with."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"after -- stands no command that trains: {message}")


def run(arguments: argparse.Namespace) -> int:
    from m5jax.configuration.load import load_run
    from m5jax.data.load_tensorflow import load_tensorflow
    from m5jax.training.processes import failing_together

    join_others(arguments)
    with failing_together():
        configured = load_run(arguments.gin_file, arguments.gin)
        load_tensorflow()  # seconds: only once the configuration is sound
    from m5jax.configuration.launch import train_run

    return run_training(train_run, configured)
