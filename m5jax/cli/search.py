"""`m5jax search`: the records nearest to a query."""

import argparse
from pathlib import Path
from typing import Any

from m5jax.configuration.flags import positive

DESCRIPTION = """Prints the records whose embeddings are nearest to a query's.

  m5jax search --run=runs/a --embeddings=embeddings.parquet --query="wireless headphones" --top=5
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "search",
        help="records nearest to a query",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", dest="run_dir", required=True, type=Path, metavar="DIR", help="run directory")
    parser.add_argument("--embeddings", required=True, type=Path, help="Parquet file made by m5jax embed")
    parser.add_argument("--query", required=True, help="text, read as a product's title")
    parser.add_argument("--top", type=positive, default=10, help="records to print (default: %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from m5jax.configuration.load_embedder import load_embedder
    from m5jax.evaluation.tables import format_table
    from m5jax.inference.search import EmbeddingIndex

    index = EmbeddingIndex(arguments.embeddings)
    embedder = load_embedder(arguments.run_dir)
    neighbors = index.nearest(embedder.embed_query(arguments.query), arguments.top)
    rows = [[f"{hit.similarity:.3f}", hit.language, hit.id, hit.title] for hit in neighbors]
    print(format_table(("similarity", "language", "id", "title"), rows, ("right", "left", "left", "left")))
    return 0
