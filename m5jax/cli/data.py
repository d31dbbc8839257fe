"""`m5jax data`: training input prepared and written down."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from m5jax.cli.flags import positive

DESCRIPTION = """Prepares training input and writes it down.

prepare: from raw files to clean shards, by Apache Beam: normalised, language identified, filtered, without duplicates
  m5jax data prepare --gin_file=gin_configs/preparation/text.gin \\
    --gin.INPUT="'raw/*.jsonl.zst'" --gin.OUTPUT="'prepared'"

cache: the steps of a task before its random ones, done once (SeqIO's offline cache, by Apache Beam)
  m5jax data cache --task=embedded_catalog_mlm --output_cache_dir=cache
  m5jax train --gin_file=gin_configs/experiments/quickstart.gin --gin.RUN_DIR="'runs/a'" \\
    --gin.DataConfig.cache_dir="'cache'"

materialize: the packed rows of a run in the order of training, to be read by any number of hosts
  m5jax data materialize --gin_file=gin_configs/experiments/quickstart.gin --rows=5000 --output=rows
  m5jax train --gin_file=gin_configs/experiments/quickstart.gin --gin.RUN_DIR="'runs/a'" \\
    --gin.DataConfig.materialized="'rows'"

A run of S steps takes S * BATCH_SIZE rows, and begins with the first again after the last.
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "data",
        help="prepare training input and write it down",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="prepare | cache | materialize")
    prepare = verbs.add_parser("prepare", help="make clean shards of raw files", allow_abbrev=False)
    prepare.add_argument("--gin_file", action="append", required=True, metavar="FILE", help="of the preparation")
    cache = verbs.add_parser("cache", help="do the steps of a task before its random ones once", allow_abbrev=False)
    cache.add_argument("--task", required=True, metavar="NAME", help="task, or mixture, whose tasks are cached")
    cache.add_argument(
        "--task_module", action="append", metavar="MODULE", help="module that registers tasks (default: tasks)"
    )
    cache.add_argument("--output_cache_dir", type=Path, required=True, metavar="DIR", help="directory of caches")
    cache.add_argument(
        "--vocabulary", default="", metavar="FILE", help="vocabulary (needed where the task has none of its own)"
    )
    for verb in (prepare, cache):
        verb.add_argument(
            "--beam_options",
            default="",
            metavar="FLAGS",
            help="of Apache Beam, in one argument: --beam_options='--runner=FlinkRunner --flink_master=HOST:PORT'",
        )
    materialize = verbs.add_parser("materialize", help="write the packed rows of a run", allow_abbrev=False)
    materialize.add_argument("--gin_file", action="append", required=True, metavar="FILE", help="of the run")
    materialize.add_argument("--rows", type=positive, required=True, help="rows to write")
    materialize.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory; must not exist")
    for verb in (prepare, materialize):
        verb.add_argument("--gin", action="append", default=[], metavar="NAME=VALUE", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    verbs = {"prepare": _prepare, "cache": _cache, "materialize": _materialize}
    return verbs[arguments.verb](arguments)


def _prepare(arguments: argparse.Namespace) -> int:
    from m5jax.configuration.load import load_preparation
    from m5jax.data.preparation.load_beam import load_beam

    settings = load_preparation(arguments.gin_file, arguments.gin)
    load_beam()
    from m5jax.data.preparation.pipeline import prepare
    from m5jax.data.preparation.statistics import statistics_table

    statistics = prepare(settings, shlex.split(arguments.beam_options))
    print(f"{statistics_table(statistics)}\n\nwritten to {settings.output}: shards, statistics.json, report.html")
    return 0


def _cache(arguments: argparse.Namespace) -> int:
    from m5jax.configuration.load import import_task_modules
    from m5jax.data.preparation.load_beam import load_beam

    modules = arguments.task_module or ["tasks"]
    import_task_modules(modules)
    load_beam()
    from m5jax.data.preparation.cache_tasks import cache_tasks

    cached = cache_tasks(
        arguments.task,
        arguments.output_cache_dir,
        vocabulary=arguments.vocabulary,
        task_modules=modules,
        beam_options=shlex.split(arguments.beam_options),
    )
    for name, examples in cached.items():
        print(f"{name}: {examples:,} examples cached in {arguments.output_cache_dir}")
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
