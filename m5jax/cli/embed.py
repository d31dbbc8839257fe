"""`m5jax embed`: one embedding a record."""

import argparse
from pathlib import Path
from typing import Any

from m5jax.configuration.flags import parse_pairs, positive

DESCRIPTION = """Embeds the records of a file with a trained run and writes Parquet: one row a record, with its id
(products) or line (text) and the embedding.

  m5jax embed --run=runs/a --input=products.jsonl --output=embeddings.parquet
  m5jax embed --run=runs/a --input=offers.csv --output=offers.parquet \
    --column id=sku --column title=name --default language=de
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "embed",
        help="embed the records of a file",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", dest="run_dir", required=True, type=Path, metavar="DIR", help="run directory")
    parser.add_argument("--input", required=True, help="records: .jsonl (also .gz, .zst), .parquet, .csv")
    parser.add_argument("--output", required=True, type=Path, help="Parquet file to write; must not exist")
    parser.add_argument("--kind", choices=("product", "text"), default="product", help="default: product")
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="FIELD=COLUMN",
        help="column of a field of another name",
    )
    parser.add_argument("--default", action="append", default=[], metavar="FIELD=VALUE", help="for an absent field")
    parser.add_argument("--batch_size", type=positive, default=64, help="records at a time (default: %(default)s)")
    parser.add_argument("--step", type=int, help="checkpoint to use (default: the newest intact one)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from m5jax.configuration.load_embedder import load_embedder
    from m5jax.inference.embed_file import embed_file

    count = embed_file(
        load_embedder(arguments.run_dir, arguments.step),
        arguments.input,
        arguments.output,
        kind=arguments.kind,
        column_mapping=parse_pairs(arguments.column, "--column"),
        defaults=parse_pairs(arguments.default, "--default"),
        batch_size=arguments.batch_size,
    )
    print(f"{count} embeddings written to {arguments.output}")
    return 0
