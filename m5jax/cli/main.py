"""The `m5jax` command."""

import argparse
import logging
import sys

from m5jax.cli import (
    compare,
    data,
    embed,
    evaluate,
    finetune,
    generate,
    launch,
    models,
    plan,
    search,
    study,
    tasks,
    train,
    tune,
    vocabulary,
)
from m5jax.configuration.command_line import split_gin_overrides
from m5jax.errors import UserError
from partitioning.errors import PartitioningError

EXIT_USER_ERROR = 2
EXIT_KEYBOARD = 130  # as shells report SIGINT
DESCRIPTION = """Semantic representations of a product catalog: pre-train, evaluate and embed.

A first run on the embedded catalog:
  m5jax train    --gin_file=gin_configs/experiments/quickstart.gin --gin.RUN_DIR="'runs/a'"
  m5jax evaluate --run=runs/a
  m5jax embed    --run=runs/a --input=products.jsonl --output=embeddings.parquet
"""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m5jax", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (
        train,
        finetune,
        tune,
        study,
        evaluate,
        compare,
        embed,
        search,
        generate,
        models,
        plan,
        launch,
        tasks,
        data,
        vocabulary,
    ):
        command.add_parser(subparsers)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs a command line; returns its exit status: 0, 2 for what the user can mend, 75 for a run that was
    stopped with a checkpoint saved, 130 for Ctrl-C elsewhere."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("m5jax").setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax and SeqIO log their ordinary work as warnings
    parsed = make_parser().parse_args(split_gin_overrides(sys.argv[1:] if arguments is None else arguments))
    try:
        return parsed.run(parsed)
    except (UserError, PartitioningError) as error:
        print(f"m5jax: error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("m5jax: interrupted", file=sys.stderr)
        return EXIT_KEYBOARD


if __name__ == "__main__":
    sys.exit(main())
