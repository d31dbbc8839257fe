"""`m5jax vocabulary`: SentencePiece vocabularies."""

import argparse
from pathlib import Path
from typing import Any

from m5jax.configuration.flags import parse_pairs, positive
from m5jax.data.vocabulary import DEFAULT_ALPHA, DEFAULT_MAX_SENTENCES

DESCRIPTION = """Trains and extends SentencePiece vocabularies.

train: a vocabulary (unigram, byte fallback, NFKC) with m5jax's reserved ids, drawing sentences by language with p_i
proportional to n_i ** alpha
  m5jax vocabulary train --input text/en.jsonl.zst --input text/de.jsonl.zst --size 32000 --output vocabulary.model
  m5jax vocabulary train --input products.parquet --kind product --column id=sku --size 32000 --output vocabulary.model

extend: the pieces that other texts need most, after those of a vocabulary, whose ids stay
  m5jax vocabulary extend --vocabulary vocabulary.model --input text/fr.jsonl.zst --size 36000 --output extended.model
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "vocabulary",
        help="train or extend a vocabulary",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="train | extend")
    train = verbs.add_parser("train", help="train a vocabulary on records", allow_abbrev=False)
    _add_flags(train, "pieces, 8,000 to 256,000 for real use")
    train.set_defaults(run=_train)
    extend = verbs.add_parser("extend", help="append the pieces that records need", allow_abbrev=False)
    extend.add_argument("--vocabulary", required=True, type=Path, metavar="FILE", help="to extend")
    _add_flags(extend, "pieces, those of the vocabulary included")
    extend.set_defaults(run=_extend)


def _add_flags(verb: argparse.ArgumentParser, size: str) -> None:
    verb.add_argument("--input", action="append", required=True, help="records; may be given several times")
    verb.add_argument("--kind", choices=("product", "text"), default="text", help="default: text")
    verb.add_argument("--column", action="append", default=[], metavar="FIELD=COLUMN", help="column of a field")
    verb.add_argument("--default", action="append", default=[], metavar="FIELD=VALUE", help="for an absent field")
    verb.add_argument("--size", type=positive, required=True, help=size)
    verb.add_argument("--alpha", type=float, default=DEFAULT_ALPHA, help="balance of languages (default: %(default)s)")
    verb.add_argument(
        "--sentences",
        type=positive,
        default=DEFAULT_MAX_SENTENCES,
        help="records to learn from (default: %(default)s)",
    )
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--output", required=True, type=Path, metavar="FILE", help="model to write; must not exist")


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "kind": arguments.kind,
        "column_mapping": parse_pairs(arguments.column, "--column"),
        "defaults": parse_pairs(arguments.default, "--default"),
        "size": arguments.size,
        "alpha": arguments.alpha,
        "max_sentences": arguments.sentences,
        "seed": arguments.seed,
        "output": arguments.output,
    }


def _train(arguments: argparse.Namespace) -> int:
    from m5jax.data.vocabulary_from_files import vocabulary_from_files

    vocabulary, _ = vocabulary_from_files(arguments.input, **_settings(arguments))
    print(f"vocabulary of {vocabulary.size} pieces written to {arguments.output}")
    return 0


def _extend(arguments: argparse.Namespace) -> int:
    from m5jax.data.vocabulary_from_files import vocabulary_from_files
    from m5jax.evaluation.tables import format_table

    vocabulary, tokens = vocabulary_from_files(arguments.input, old=arguments.vocabulary, **_settings(arguments))
    rows = [[name, f"{old:.3f}", f"{new:.3f}"] for name, (old, new) in tokens.items()]
    print(format_table(("tokens a word", "before", "after"), rows, ("left", "right", "right")))
    print(f"\nvocabulary of {vocabulary.size} pieces written to {arguments.output}")
    return 0
