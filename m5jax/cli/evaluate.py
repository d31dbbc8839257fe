"""`m5jax evaluate`: how good a trained or fine-tuned run is on held-out data."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m5jax.configuration.command_line import add_evaluate_flags
from m5jax.configuration.flags import parse_pairs
from m5jax.errors import UserError

if TYPE_CHECKING:
    from m5jax.evaluation.masked_report import Bootstrap

DESCRIPTION = """Evaluates a run on held-out data.

A pre-trained run on its own held-out data with fixed masks: loss and masked-token accuracy per language, beside the
accuracy of always predicting the most frequent training token; of masked LM also whole words and values of attributes.

  m5jax evaluate --run=runs/a

One of masked LM on products of files, too, each value of an attribute hidden in its turn:

  m5jax evaluate --run=runs/a --data=products.jsonl

A fine-tuned run on labelled rows of a file: the metrics of its task, per language where there are several. Either, with
95% bootstrap intervals, is written to RUN/evaluations/NAME: report.md, report.html, report.json and
predictions.parquet, which m5jax compare reads.

  m5jax evaluate --run=runs/a-joint --data=test.jsonl

One of pairs as a search too, left sides being queries and right sides documents: MAP, MRR, recall, precision and nDCG,
beside those of other systems.

  m5jax evaluate --run=runs/a-two_tower --data=test.jsonl --kind=search --documents=products.jsonl --baseline=bm25 \\
    --baseline=runs/hashed_ngrams --index=hnsw --dimensions=64
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="how good a run is on held-out data",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_evaluate_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from m5jax.configuration.fine_tuned_run import is_fine_tuned

    if is_fine_tuned(arguments.run_dir):
        return _run_fine_tuned(arguments)
    if arguments.kind:
        raise UserError(f"{arguments.run_dir} is of no fine-tuning, and is evaluated without --kind")
    from m5jax.data.load_tensorflow import load_tensorflow

    load_tensorflow()
    from m5jax.evaluation.masked_report import Bootstrap

    bootstrap = Bootstrap(arguments.samples, arguments.seed)
    if arguments.data:
        return _run_values(arguments, bootstrap)
    from m5jax.configuration.evaluate_pretrained import NAME, HeldOutEvaluation, evaluate_run

    settings = HeldOutEvaluation(
        name=arguments.name or NAME,
        step=arguments.step,
        output=arguments.output,
        batch_size=arguments.batch_size,
        bootstrap=bootstrap,
    )
    print(evaluate_run(arguments.run_dir, settings))
    return 0


def _run_values(arguments: argparse.Namespace, bootstrap: "Bootstrap") -> int:
    from m5jax.configuration.evaluate_values import ValueEvaluation, evaluate_values

    if arguments.output is not None:
        raise UserError("--output is of a run's own held-out data; with --data figures are in RUN/evaluations/NAME")
    settings = ValueEvaluation(
        data=tuple(arguments.data),
        name=arguments.name or _name_of(arguments.data),
        columns=parse_pairs(arguments.column, "--column"),
        defaults=parse_pairs(arguments.default, "--default"),
        step=arguments.step,
        batch_size=arguments.batch_size,
        bootstrap=bootstrap,
    )
    print(evaluate_values(arguments.run_dir, settings))
    return 0


def _name_of(data: Sequence[str]) -> str:
    return Path(data[0]).name.partition(".json")[0]


def _run_fine_tuned(arguments: argparse.Namespace) -> int:
    from m5jax.configuration.evaluate_fine_tuned import EvaluationSettings, evaluate_fine_tuned

    if not arguments.data:
        raise UserError(f"{arguments.run_dir} was fine-tuned; name rows to evaluate it on with --data=FILE")
    if arguments.output is not None:
        raise UserError("--output is of pre-trained runs; a fine-tuned one writes to RUN/evaluations/NAME")
    asked = {name: tuple(getattr(arguments, name)) for name in ("documents", "baselines", "indices", "dimensions")}
    if arguments.kind is None and (arguments.candidates or any(asked.values())):
        raise UserError("--candidates, --documents, --baseline, --index and --dimensions are of --kind=search; add it")
    stem = _name_of(arguments.data)
    settings = EvaluationSettings(
        data=tuple(arguments.data),
        name=arguments.name or (stem if arguments.kind is None else f"{stem}-{arguments.kind}"),
        columns=parse_pairs(arguments.column, "--column"),
        defaults=parse_pairs(arguments.default, "--default"),
        allow_overlap=arguments.overlap == "allow",
        step=arguments.step,
        batch_size=arguments.batch_size,
        samples=arguments.samples,
        seed=arguments.seed,
    )
    if arguments.kind == "search":
        from m5jax.configuration.evaluate_search import SearchSettings, evaluate_search

        print(evaluate_search(arguments.run_dir, settings, SearchSettings(arguments.candidates, **asked)))
        return 0
    print(evaluate_fine_tuned(arguments.run_dir, settings))
    return 0
