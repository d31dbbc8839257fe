"""`m5jax generate`: what a model writes of texts."""

import argparse
import sys
from pathlib import Path
from typing import Any

from m5jax.configuration.flags import positive
from m5jax.errors import UserError

DESCRIPTION = """Prints what the encoder-decoder or decoder of a run writes of each line of a file, a line each.

  m5jax generate --run=runs/a --input=texts.txt
  m5jax generate --run=runs/a --input=texts.txt --beams=4
  m5jax generate --run=runs/decoder --input=texts.txt --continue --temperature=0.8

Texts are read as the tasks of the run write their inputs (m5jax tasks show); with --continue they are the beginning of
what a decoder writes, as in causal LM. With --labels, the answer is one of the lines of that file.
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "generate",
        help="texts that a model writes",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", dest="run_dir", required=True, type=Path, metavar="DIR", help="run directory")
    parser.add_argument("--input", required=True, help="UTF-8 text, a line each; - for standard input")
    parser.add_argument("--output", type=Path, help="file to write instead of printing; must not exist")
    parser.add_argument("--labels", type=Path, help="the only answers, a line each")
    parser.add_argument("--length", type=positive, default=64, help="tokens to write at most (default: %(default)s)")
    parser.add_argument(
        "--temperature", type=float, default=0.0, help="of the sampling; 0 takes the likeliest token (default: 0)"
    )
    parser.add_argument("--top_k", type=int, default=0, help="sample from the likeliest so many tokens; 0: all")
    parser.add_argument("--top_p", type=float, default=1.0, help="sample from the likeliest with this probability")
    parser.add_argument("--beams", type=positive, help="search with so many beams instead of sampling")
    parser.add_argument(
        "--length_penalty",
        type=float,
        help="of --beams: log-probabilities are divided by the length to this power; 0 favours short (default: 1)",
    )
    parser.add_argument("--continue", dest="continues", action="store_true", help="write what comes after the texts")
    parser.add_argument("--seed", type=int, default=0, help="of the sampling (default: 0)")
    parser.add_argument("--batch_size", type=positive, default=32, help="texts at a time (default: %(default)s)")
    parser.add_argument("--step", type=int, help="checkpoint (default: the newest)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from m5jax.configuration.load_generator import load_generator
    from m5jax.inference.beam_search import Beams
    from m5jax.inference.decoding import Sampling
    from m5jax.inference.generate_lines import generate_lines, read_lines

    strategy: Sampling | Beams = Sampling(arguments.temperature, arguments.top_k, arguments.top_p)
    if arguments.beams:
        if strategy != Sampling():
            raise UserError("--beams does not sample; leave --temperature, --top_k and --top_p away, or --beams")
        strategy = Beams(arguments.beams, 1.0 if arguments.length_penalty is None else arguments.length_penalty)
    elif arguments.length_penalty is not None:
        raise UserError("--length_penalty ranks beams; add --beams")
    labels = read_lines(arguments.labels) if arguments.labels else []
    generator = load_generator(
        arguments.run_dir, arguments.length, strategy, labels, arguments.continues, arguments.step
    )
    source = sys.stdin if arguments.input == "-" else Path(arguments.input)
    count = generate_lines(generator, source, arguments.output, arguments.batch_size, arguments.seed)
    if generator.texts_cut:
        print(f"{generator.texts_cut} of {count} texts were longer than the model reads, and were cut", file=sys.stderr)
    if arguments.output:
        print(f"{count} texts written to {arguments.output}")
    return 0
