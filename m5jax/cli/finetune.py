"""`m5jax finetune`: a pre-trained encoder and a small labelled set to a model of a task."""

import argparse
from typing import Any

from m5jax.cli.training import run_training
from m5jax.configuration.command_line import add_finetune_flags, read_finetune
from m5jax.configuration.flags import join_others

DESCRIPTION = """Fine-tunes a trained run on labelled rows, keeps the checkpoint that is best on the validation rows
and says how good it is. The same command again resumes one that was stopped.

  m5jax finetune --from=runs/a --train=pairs.jsonl --valid=valid.jsonl --recipe=two_tower
  m5jax finetune --from=runs/a --train=offers.csv --valid=more.csv --recipe=classification \\
    --column label=category --column title=name --run_dir=runs/categories --gin.FineTuning.epochs=5.0

Recipes, each a gin file that says what rows hold and what may be changed:
  two_tower            pairs, a tower for each side, for search and matching
  joint                pairs, or several items, read together; more accurate, and slower to use
  classification       a text or product and its class
  regression           a text, product or pair and a number
  intents_and_slots    the words of requests, their slots and the intent
  text_to_text         a text from another one, by a pre-trained encoder-decoder
  hashed_ngrams        pairs, by a bag of hashed n-grams without pre-training; a baseline
or the path of a gin file of one's own. A text of a row is a string, a product (a mapping), or columns that begin with
its name (left_title, left_price).

The run directory holds afterwards: checkpoints/ (the newest and the best), config.gin, vocabulary/, fine_tuned/,
metrics.jsonl, tensorboard/, logs/, summary.json and report.html.
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "finetune",
        help="fine-tune a run on labelled rows",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_finetune_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from m5jax.training.processes import failing_together

    join_others(arguments)
    with failing_together():
        config = read_finetune(arguments)
    from m5jax.configuration.fine_tune import fine_tune

    return run_training(fine_tune, config)
