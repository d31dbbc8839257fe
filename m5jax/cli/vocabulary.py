"""`m5jax vocabulary`: SentencePiece vocabularies."""

import argparse
from pathlib import Path
from typing import Any

from m5jax.cli.flags import parse_pairs, positive
from m5jax.data.vocabulary import DEFAULT_ALPHA, DEFAULT_MAX_SENTENCES

DESCRIPTION = """Trains a SentencePiece vocabulary (unigram, byte fallback, NFKC) with m5jax's reserved ids, drawing
sentences by language with p_i proportional to n_i ** alpha.

  m5jax vocabulary train --input text/en.jsonl.zst --input text/de.jsonl.zst --size 32000 --output vocabulary.model
  m5jax vocabulary train --input products.parquet --kind product --column id=sku --size 32000 --output vocabulary.model
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "vocabulary",
        help="train a vocabulary",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="train")
    train = verbs.add_parser("train", help="train a vocabulary on records")
    train.add_argument("--input", action="append", required=True, help="records; may be given several times")
    train.add_argument("--kind", choices=("product", "text"), default="text", help="default: text")
    train.add_argument("--column", action="append", default=[], metavar="FIELD=COLUMN", help="column of a field")
    train.add_argument("--default", action="append", default=[], metavar="FIELD=VALUE", help="for an absent field")
    train.add_argument("--size", type=positive, required=True, help="pieces, 8,000 to 256,000 for real use")
    train.add_argument("--alpha", type=float, default=DEFAULT_ALPHA, help="balance of languages (default: %(default)s)")
    train.add_argument(
        "--sentences",
        type=positive,
        default=DEFAULT_MAX_SENTENCES,
        help="records to learn from (default: %(default)s)",
    )
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--output", required=True, type=Path, metavar="FILE", help="model to write; must not exist")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from m5jax.data.vocabulary_from_files import train_vocabulary_from_files

    vocabulary = train_vocabulary_from_files(
        arguments.input,
        kind=arguments.kind,
        column_mapping=parse_pairs(arguments.column, "--column"),
        defaults=parse_pairs(arguments.default, "--default"),
        size=arguments.size,
        alpha=arguments.alpha,
        max_sentences=arguments.sentences,
        seed=arguments.seed,
        output=arguments.output,
    )
    print(f"vocabulary of {vocabulary.size} pieces written to {arguments.output}")
    return 0
