"""Embeddings a block at a time: from memory, from a file, or as they are made."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float

from m5jax.errors import UserError, unknown_name

Metric: TypeAlias = Literal["cosine", "inner_product"]
METRICS = ("cosine", "inner_product")

# A matrix (np.memmap included), a .npy file, or matrices in turn.
Documents: TypeAlias = np.ndarray | Path | Iterable[np.ndarray]


def check_metric(metric: str) -> None:
    """Raises UserError where `metric` is none."""
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)


def unit_rows(rows: Float[np.ndarray, "rows width"]) -> Float[np.ndarray, "rows width"]:
    """Returns the float32 rows divided by their norms; rows of zeros stay. The result of a row depends on it alone."""
    return (rows / np.maximum(row_norms(rows), np.finfo(np.float64).tiny)[:, None]).astype(np.float32)


def row_norms(rows: Float[np.ndarray, "rows width"]) -> Float[np.ndarray, " rows"]:
    """Returns the float64 norms; no float32 is so large that they overflow."""
    return np.sqrt(np.square(rows, dtype=np.float64).sum(axis=-1))


def embedding_matrix(embeddings: np.ndarray, what: str) -> Float[np.ndarray, "rows width"]:
    """Returns `embeddings` as contiguous float32.

    Raises:
        UserError: it is no matrix of finite floats; `what` names it.
    """
    if not isinstance(embeddings, np.ndarray) or embeddings.ndim != 2 or embeddings.dtype.kind != "f":
        shape = f"{embeddings.dtype} {list(embeddings.shape)}" if isinstance(embeddings, np.ndarray) else embeddings
        raise UserError(f"{what} are {shape}; allowed: floats [rows, width]")
    matrix = np.ascontiguousarray(embeddings, np.float32)
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        raise UserError(f"{what}: row {int(np.argmin(finite)):,} of {len(matrix):,} is not finite")
    return matrix


def row_count(documents: Documents) -> int | None:
    """Returns how many there are; None where only reading them all tells.

    Raises:
        UserError: the file is not one of embeddings.
    """
    if isinstance(documents, Path):
        return len(_open_npy(documents))
    return len(documents) if isinstance(documents, np.ndarray) else None


def read_blocks(documents: Documents, size: int) -> Iterator[Float[np.ndarray, "block width"]]:
    """Yields float32 blocks of `size` rows or fewer, of which none is kept.

    Raises:
        UserError: a file cannot be read, or a block is no matrix of finite floats as wide as the first.
    """
    if size < 1:
        raise UserError(f"blocks of {size} documents; allowed: 1 and above")
    width, first = None, 0
    for matrix in _matrices(documents, size):
        # Not `for block in ...`: that would hold a block while the next is made.
        for start in range(0, max(len(matrix), 1), size):
            block = embedding_matrix(matrix[start : start + size], f"documents from {first:,} on")
            width = block.shape[1] if width is None else width
            if block.shape[1] != width:
                raise UserError(f"documents from {first:,} on have {block.shape[1]} values, those before {width}")
            first += len(block)
            if len(block):
                yield block
            del block
        del matrix


def _matrices(documents: Documents, size: int) -> Iterator[np.ndarray]:
    if isinstance(documents, np.ndarray):
        yield documents
    elif isinstance(documents, Path):
        yield from _npy_matrices(documents, size)
    else:
        yield from documents


def _npy_matrices(path: Path, size: int) -> Iterator[np.ndarray]:
    opened = _open_npy(path)
    # Read and not mapped: the pages of a mapped file count as memory of this process until others need it.
    width, dtype, offset = opened.shape[1], opened.dtype, opened.offset
    for start in range(0, len(opened), size):
        rows = min(size, len(opened) - start)
        place = offset + start * width * dtype.itemsize
        yield np.fromfile(path, dtype, rows * width, offset=place).reshape(rows, width)


def _open_npy(path: Path) -> np.memmap:
    try:
        opened = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no .npy file of embeddings ({str(error).splitlines()[0]})") from error
    if opened.ndim != 2 or not opened.flags.c_contiguous:
        raise UserError(f"{path} holds an array {list(opened.shape)}; allowed: [documents, width] in C order")
    return opened


def check_width(queries: Float[np.ndarray, "queries width"], width: int) -> None:
    """Raises UserError where documents of `width` values are not of the queries' kind."""
    if queries.shape[1] != width:
        raise UserError(f"the queries have {queries.shape[1]} values, the documents {width}: not of one model")


def blocks_of(count: int, size: int) -> Iterator[slice]:
    """Yields the slices of `count` rows, `size` or fewer each.

    Raises:
        UserError: `size` is below 1.
    """
    if size < 1:
        raise UserError(f"blocks of {size} queries; allowed: 1 and above")
    for index in range(math.ceil(count / size)):
        yield slice(index * size, min(count, (index + 1) * size))
