"""Lines of text in, a line of what is written of each out."""

import contextlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from m5jax.errors import UserError
from m5jax.inference.generator import Generator

_BATCHES_AT_ONCE = 16  # lines sorted by length together


def read_lines(path: Path) -> list[str]:
    """Returns the lines of a file that are not empty; raises UserError where it cannot be read or has none."""
    lines = [line for line in _lines(path) if line]
    if not lines:
        raise UserError(f"{path} has no line of text")
    return lines


def generate_lines(generator: Generator, source: Path | TextIO, output: Path | None, batch_size: int, seed: int) -> int:
    """Writes a line for each line of `source` to `output`, None: prints it; returns their number.

    Line ends that the model writes become spaces. Lines are read as they are needed. `output` appears under its name
    only when it is whole.

    Raises:
        UserError: the source cannot be read, or `output` exists or cannot be written.
    """
    if output is not None and output.exists():
        raise UserError(f"{output} exists; remove it or choose another --output")
    count = 0
    with _opened(output) as file, tqdm(desc="writing", unit=" texts", disable=None if output else True) as progress:
        lines = _lines(source)
        while texts := list(itertools.islice(lines, batch_size * _BATCHES_AT_ONCE)):
            answers = generator.generate(texts, batch_size, seed + count)
            file.writelines(" ".join(answer.split()) + "\n" for answer in answers)
            count += len(texts)
            progress.update(len(texts))
    return count


def _lines(source: Path | TextIO) -> Iterator[str]:
    try:
        if isinstance(source, Path):
            with source.open(encoding="utf-8") as file:
                yield from (line.rstrip("\n") for line in file)
        else:
            yield from (line.rstrip("\n") for line in source)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {source}: {getattr(error, 'strerror', None) or error}") from error


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    partial = output.with_name(f"{output.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            yield file
        partial.rename(output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
