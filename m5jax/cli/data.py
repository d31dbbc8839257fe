"""`m5jax data`: training input prepared, written down, and its records scored."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from m5jax.configuration.flags import parse_pairs, positive
from m5jax.errors import UserError

DESCRIPTION = """Prepares training input, writes it down, and scores its records.

prepare: from raw files to clean shards, by Apache Beam: normalised, language identified, filtered, without duplicates
  m5jax data prepare --gin_file=gin_configs/preparation/text.gin \\
    --gin.INPUT="'raw/*.jsonl.zst'" --gin.OUTPUT="'prepared'"

cache: the steps of a task before its random ones, done once (SeqIO's offline cache, by Apache Beam)
  m5jax data cache --task=embedded_catalog_mlm --output_cache_dir=cache
  m5jax train --gin_file=gin_configs/experiments/quickstart.gin --gin.RUN_DIR="'runs/a'" \\
    --gin.DataConfig.cache_dir="'cache'"

materialize: the packed rows of a run in the order of training, to be read by any number of hosts, and its held-out rows
  m5jax data materialize --gin_file=gin_configs/experiments/quickstart.gin --rows=5000 --output=rows
  m5jax train --gin_file=gin_configs/experiments/quickstart.gin --gin.RUN_DIR="'runs/a'" \\
    --gin.DataConfig.materialized="'rows'"

A run of S steps takes S * BATCH_SIZE rows, which --steps=S writes, and begins with the first again after the last.

score: how hard a trained run finds each record of a task, for tasks that sample hard ones more often
  m5jax data score --run=runs/a --task=embedded_catalog_en_mlm --output=scores.parquet

pairs: pairs of products that are, or are not, the same, made of a catalog without labels, for m5jax finetune
  m5jax data pairs --input=products.jsonl --count=50000 --output=pairs.jsonl
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "data",
        help="prepare training input, write it down, score its records",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="prepare | cache | materialize | score | pairs")
    _add_prepare(verbs.add_parser("prepare", help="make clean shards of raw files", allow_abbrev=False))
    _add_cache(verbs.add_parser("cache", help="do the steps of a task before its random ones once", allow_abbrev=False))
    _add_materialize(
        verbs.add_parser(
            "materialize", help="write the packed rows of a run, and its held-out ones", allow_abbrev=False
        )
    )
    _add_score(verbs.add_parser("score", help="write the loss of a run on each record of a task", allow_abbrev=False))
    _add_pairs(verbs.add_parser("pairs", help="make labelled pairs of a catalog without labels", allow_abbrev=False))


def _add_prepare(prepare: argparse.ArgumentParser) -> None:
    prepare.add_argument("--gin_file", action="append", required=True, metavar="FILE", help="of the preparation")
    _add_gin(prepare)
    _add_beam_options(prepare)
    prepare.set_defaults(run=_prepare)


def _add_cache(cache: argparse.ArgumentParser) -> None:
    cache.add_argument("--task", required=True, metavar="NAME", help="task, or mixture, whose tasks are cached")
    cache.add_argument(
        "--task_module", action="append", metavar="MODULE", help="module that registers tasks (default: tasks)"
    )
    cache.add_argument("--output_cache_dir", type=Path, required=True, metavar="DIR", help="directory of caches")
    cache.add_argument(
        "--vocabulary", default="", metavar="FILE", help="vocabulary (needed where the task has none of its own)"
    )
    _add_beam_options(cache)
    cache.set_defaults(run=_cache)


def _add_materialize(materialize: argparse.ArgumentParser) -> None:
    materialize.add_argument("--gin_file", action="append", required=True, metavar="FILE", help="of the run")
    _add_gin(materialize)
    size = materialize.add_mutually_exclusive_group(required=True)
    size.add_argument("--steps", type=positive, help="rows of so many steps of the run")
    size.add_argument("--epochs", type=positive, help="passes over the records of each task")
    size.add_argument("--rows", type=positive, help="rows to write")
    materialize.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory; must not exist")
    materialize.set_defaults(run=_materialize)


def _add_score(score: argparse.ArgumentParser) -> None:
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


def _add_pairs(pairs: argparse.ArgumentParser) -> None:
    pairs.add_argument("--input", action="append", required=True, metavar="FILE", help="products; several times")
    pairs.add_argument("--column", action="append", default=[], metavar="FIELD=COLUMN", help="column of a field")
    pairs.add_argument("--default", action="append", default=[], metavar="FIELD=VALUE", help="for an absent field")
    pairs.add_argument("--count", type=positive, required=True, help="pairs to make")
    pairs.add_argument("--output", type=Path, required=True, metavar="FILE", help="JSON lines; must not exist")
    pairs.add_argument("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    pairs.set_defaults(run=_pairs)


def _add_gin(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--gin", action="append", default=[], metavar="NAME=VALUE", help=argparse.SUPPRESS)


def _add_beam_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--beam_options",
        default="",
        metavar="FLAGS",
        help="of Apache Beam, in one argument: --beam_options='--runner=FlinkRunner --flink_master=HOST:PORT'",
    )


def _beam_options(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(f"--beam_options {text!r} does not split into flags: {error}") from error


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


def _pairs(arguments: argparse.Namespace) -> int:
    from m5jax.data.catalog_records import ProductRecord
    from m5jax.data.read_records import read_records
    from m5jax.data.rejected import RejectLog
    from m5jax.finetuning.self_labelled import SelfLabelling, write_pairs

    products: list[ProductRecord] = []
    columns, defaults = parse_pairs(arguments.column, "--column"), parse_pairs(arguments.default, "--default")
    with RejectLog(arguments.output.with_name(f"{arguments.output.name}.rejected.jsonl")) as rejects:
        for _, _, record in read_records(arguments.input, "product", columns, defaults, rejects):
            rejects.accept()
            assert isinstance(record, ProductRecord)
            products.append(record)
    kinds = write_pairs(products, arguments.output, arguments.count, SelfLabelling(), arguments.seed)
    described = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    print(f"{kinds.total():,} pairs of {len(products):,} products written to {arguments.output}: {described}")
    return 0


def _prepare(arguments: argparse.Namespace) -> int:
    from m5jax.configuration.load import load_preparation
    from m5jax.data.preparation.load_beam import load_beam

    settings = load_preparation(arguments.gin_file, arguments.gin)
    load_beam()
    from m5jax.data.preparation.pipeline import prepare
    from m5jax.data.preparation.statistics import statistics_table

    statistics = prepare(settings, _beam_options(arguments.beam_options))
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
        beam_options=_beam_options(arguments.beam_options),
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

    count = arguments.steps * configured.data.batch_size if arguments.steps else arguments.rows
    rows = materialize_run(configured, arguments.output, count, arguments.epochs)
    print(f"{rows.count:,} rows written to {arguments.output}")
    return 0
