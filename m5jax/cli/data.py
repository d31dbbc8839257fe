"""`m5jax data`: training input written down."""

import argparse
from pathlib import Path
from typing import Any

from m5jax.cli.flags import positive

DESCRIPTION = """Writes the packed rows of a run in the order of training, to be read by any number of hosts.

  m5jax data materialize --gin_file=gin_configs/experiments/quickstart.gin --rows=5000 --output=rows
  m5jax train --gin_file=gin_configs/experiments/quickstart.gin --gin.RUN_DIR="'runs/a'" \\
    --gin.DataConfig.materialized="'rows'"

A run of S steps takes S * BATCH_SIZE rows, and begins with the first again after the last.
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "data",
        help="write training input down",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="materialize")
    materialize = verbs.add_parser("materialize", help="write the packed rows of a run", allow_abbrev=False)
    materialize.add_argument("--gin_file", action="append", required=True, metavar="FILE", help="of the run")
    materialize.add_argument("--gin", action="append", default=[], metavar="NAME=VALUE", help=argparse.SUPPRESS)
    materialize.add_argument("--rows", type=positive, required=True, help="rows to write")
    materialize.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory; must not exist")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from m5jax.configuration.load import load_run
    from m5jax.data.load_tensorflow import load_tensorflow

    # The rows are of no run, and a run directory is not needed.
    configured = load_run(arguments.gin_file, ["RUN_DIR='-'", *arguments.gin])
    load_tensorflow()
    from m5jax.configuration.live_data import materialize_run

    rows = materialize_run(configured, arguments.rows, arguments.output)
    print(f"{rows.count:,} rows written to {arguments.output}")
    return 0
