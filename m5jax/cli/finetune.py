"""`m5jax finetune`: a pre-trained encoder and a small labelled set to a model of a task."""

import argparse
from pathlib import Path
from typing import Any

from m5jax.cli.flags import add_process_flags, join_others, parse_pairs
from m5jax.cli.training import run_training

RECIPES = Path("gin_configs/recipes")
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
    parser.add_argument("--from", dest="pretrained", type=Path, metavar="DIR", help="run directory to begin with")
    parser.add_argument(
        "--train", action="append", required=True, metavar="FILE", help="training rows; may be given several times"
    )
    parser.add_argument(
        "--valid", action="append", required=True, metavar="FILE", help="validation rows; may be given several times"
    )
    parser.add_argument("--recipe", required=True, metavar="NAME", help="what is learned: a name above, or a gin file")
    parser.add_argument(
        "--run_dir", type=Path, metavar="DIR", help="default: that of --from with the recipe's name after it"
    )
    parser.add_argument(
        "--column", action="append", default=[], metavar="FIELD=COLUMN", help="column of a field of another name"
    )
    parser.add_argument("--default", action="append", default=[], metavar="FIELD=VALUE", help="for an absent field")
    parser.add_argument(
        "--overlap",
        choices=("refuse", "allow", "drop"),
        help="training rows whose texts are in the validation rows too (default: refuse)",
    )
    parser.add_argument(
        "--from_scratch", action="store_true", help="use only the vocabulary and the model's shape of --from"
    )
    parser.add_argument("--seed", type=int, help="of heads, order and dropout (default: 0)")
    parser.add_argument("--gin", action="append", default=[], metavar="NAME=VALUE", help=argparse.SUPPRESS)
    add_process_flags(parser)
    parser.set_defaults(run=run)


def bindings(arguments: argparse.Namespace) -> list[str]:
    """Returns the gin bindings that flags stand for."""
    from m5jax.configuration.fine_tuned_run import model_bindings

    bound = {
        "run_dir": str(arguments.run_dir or _default_directory(arguments)),
        "train": tuple(arguments.train),
        "valid": tuple(arguments.valid),
        "columns": parse_pairs(arguments.column, "--column"),
        "defaults": parse_pairs(arguments.default, "--default"),
        "from_scratch": arguments.from_scratch,
    }
    if arguments.pretrained is not None:
        bound["pretrained"] = str(arguments.pretrained)
    bound |= {name: value for name in ("overlap", "seed") if (value := getattr(arguments, name)) is not None}
    model = [] if arguments.pretrained is None else model_bindings(arguments.pretrained)
    return [*model, *(f"FineTuning.{name}={value!r}" for name, value in bound.items()), *arguments.gin]


def recipe_file(name: str) -> str:
    """Returns the gin file of a recipe."""
    return name if name.endswith(".gin") else str(RECIPES / f"{name}.gin")


def _default_directory(arguments: argparse.Namespace) -> Path:
    recipe = Path(arguments.recipe).stem
    if arguments.pretrained is None:
        return Path("runs") / recipe
    run_dir = Path(arguments.pretrained).resolve()
    # As it was typed where that has a name: messages are shorter.
    named = arguments.pretrained if arguments.pretrained.name == run_dir.name else run_dir
    return named.with_name(f"{run_dir.name}-{recipe}")


def run(arguments: argparse.Namespace) -> int:
    from m5jax.configuration.load import load
    from m5jax.training.processes import failing_together

    join_others(arguments)
    with failing_together():
        config = load([recipe_file(arguments.recipe)], bindings(arguments), "FineTuning")
    from m5jax.configuration.fine_tune import fine_tune

    return run_training(fine_tune, config)
