"""`m5jax models`: what models cost before they are made."""

import argparse
from typing import Any

from m5jax.configuration.flags import positive

DESCRIPTION = """Prints the size of each model of gin_configs/models, or of the gin files named.

  m5jax models sizes
  m5jax models sizes gin_configs/models/encoder_110m.gin --length=2048

Parameters: all, those beside the embeddings, and by part. FLOPs of forward and backward a token at --length: encoders
predict 15% of the tokens, encoder-decoders write 114 targets for 512 inputs, decoders predict every token. Bytes of
float32 weights, of AdamW's moments, and of the bfloat16 keys and values kept for each token while writing.
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "models",
        help="sizes of models",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="sizes")
    sizes = verbs.add_parser("sizes", help="parameters, FLOPs and bytes")
    sizes.add_argument("files", nargs="*", metavar="FILE", help="gin file of a model (default: all of the repository)")
    sizes.add_argument("--length", type=positive, default=512, help="tokens of a sequence (default: %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from m5jax.configuration.model_sizes import sizes_table

    print(sizes_table(arguments.files, arguments.length))
    return 0
