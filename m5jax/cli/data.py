"""`m5jax data`: training input written down, and its records scored."""

import argparse
from pathlib import Path
from typing import Any

from m5jax.cli.flags import positive

DESCRIPTION = """Writes training input down, or scores its records.

materialize: the packed rows of a run in the order of training, to be read by any number of hosts, and its held-out rows
  m5jax data materialize --gin_file=gin_configs/experiments/quickstart.gin --rows=5000 --output=rows
  m5jax train --gin_file=gin_configs/experiments/quickstart.gin --gin.RUN_DIR="'runs/a'" \\
    --gin.DataConfig.materialized="'rows'"

A run of S steps takes S * BATCH_SIZE rows, and begins with the first again after the last.

score: how hard a trained run finds each record of a task, for tasks that sample hard ones more often
  m5jax data score --run=runs/a --task=embedded_catalog_en_mlm --output=scores.parquet
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "data",
        help="write training input down, score its records",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="materialize | score")
    materialize = verbs.add_parser(
        "materialize", help="write the packed rows of a run, and its held-out ones", allow_abbrev=False
    )
    materialize.add_argument("--gin_file", action="append", required=True, metavar="FILE", help="of the run")
    materialize.add_argument("--gin", action="append", default=[], metavar="NAME=VALUE", help=argparse.SUPPRESS)
    materialize.add_argument("--rows", type=positive, required=True, help="rows to write")
    materialize.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory; must not exist")
    materialize.set_defaults(run=_materialize)
    score = verbs.add_parser("score", help="write the loss of a run on each record of a task", allow_abbrev=False)
    score.add_argument("--run", dest="run_dir", type=Path, required=True, metavar="DIR", help="run directory")
    score.add_argument("--task", required=True, metavar="NAME", help="task over a corpus, no mixture")
    score.add_argument("--output", type=Path, required=True, metavar="FILE", help="Parquet file; must not exist")
    score.add_argument("--split", default="train", help="of the task (default: %(default)s)")
    score.add_argument("--step", type=int, help="checkpoint to use (default: the newest intact one)")
    score.add_argument(
        "--task_module", action="append", default=[], metavar="MODULE", help="that registers tasks, beside the run's"
    )
    score.add_argument("--batch_size", type=positive, default=64, help="examples at a time (default: %(default)s)")
    score.set_defaults(run=_score)


def _score(arguments: argparse.Namespace) -> int:
    from m5jax.data.load_tensorflow import load_tensorflow

    load_tensorflow()
    from m5jax.configuration.score import score_task

    count = score_task(
        arguments.run_dir,
        arguments.task,
        arguments.output,
        split=arguments.split,
        step=arguments.step,
        task_modules=arguments.task_module,
        batch_size=arguments.batch_size,
    )
    print(f"scores of {count:,} records written to {arguments.output}")
    return 0


def _materialize(arguments: argparse.Namespace) -> int:
    from m5jax.configuration.load import load_run
    from m5jax.data.load_tensorflow import load_tensorflow

    # The rows are of no run, and a run directory is not needed.
    configured = load_run(arguments.gin_file, ["RUN_DIR='-'", *arguments.gin])
    load_tensorflow()
    from m5jax.configuration.live_data import materialize_run

    rows = materialize_run(configured, arguments.rows, arguments.output)
    print(f"{rows.count:,} rows written to {arguments.output}")
    return 0
