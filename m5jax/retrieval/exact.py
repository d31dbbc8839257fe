"""The exact nearest documents of many queries, in memory that does not grow with the number of documents.

A score here is the inner product of two float32 rows (of unit rows, for the cosine) summed in float64 and rounded to
float32: it depends on these two rows alone. What a matrix product in float32 gives is not: it adds up in an order that
changes with the shape of the matrices and with the place in them, so that copies of one document get different scores.
Blocks are scored with such a product, which is fast; documents that could be among the best, by the bound on its
rounding, are scored again one by one. Hence the ranking does not depend on the size of blocks, and of equal scores the
document that comes first is first.
"""

import numpy as np
from jaxtyping import Bool, Float
from tqdm import tqdm

from m5jax.errors import UserError
from m5jax.retrieval.embeddings import (
    Documents,
    Metric,
    blocks_of,
    check_metric,
    check_width,
    embedding_matrix,
    read_blocks,
    row_count,
    row_norms,
    unit_rows,
)
from m5jax.retrieval.ranking import Ranking, empty_ranking

_RESCORED_VALUES = 2**21  # of the rows that are scored again at once: 16 bytes each


def search_exact(
    queries: Float[np.ndarray, "queries width"],
    documents: Documents,
    k: int,
    *,
    metric: Metric = "cosine",
    document_block: int = 16_384,
    query_block: int = 1024,
) -> Ranking:
    """Returns the `k` documents of the largest cosine or inner product with each query.

    In memory are the queries, the result, at most 3 blocks of documents, and 5 bytes for each pair of one block of
    documents with one of queries. With the default blocks, a width of 256, 10,000 queries and k = 100 that is about
    200 MB, however many documents there are. Time grows where very many documents are equal but for rounding.

    Args:
        queries: in memory; two copies are held for the cosine.
        documents: a matrix, a .npy file, or an iterable of matrices, read once from its beginning on.
        metric: `cosine`, in which rows of zeros are 0 from all, or `inner_product`.
        document_block: documents that are read and scored at once; larger matrices of an iterable are cut.
        query_block: queries that they are scored against at once.

    Raises:
        UserError: what is given is not as said, or not of one width.
    """
    check_metric(metric)
    queries = embedding_matrix(queries, "queries")
    best = empty_ranking(len(queries), k)
    if metric == "cosine":
        queries = unit_rows(queries)
    norms = row_norms(queries)
    first = 0
    with tqdm(total=row_count(documents), unit=" documents", desc="searching", leave=None, disable=None) as bar:
        for block in read_blocks(documents, document_block):
            check_width(queries, block.shape[1])
            if metric == "cosine":
                block = unit_rows(block)
            slack = _rounding(norms, block)
            for rows in blocks_of(len(queries), query_block):
                _merge_block(Ranking(best.indices[rows], best.scores[rows]), queries[rows], block, slack[rows], first)
            first += len(block)
            bar.update(len(block))
            del block
    return best


def _rounding(norms: Float[np.ndarray, " queries"], block: Float[np.ndarray, "block width"]) -> np.ndarray:
    """Returns, for each query, how far a float32 product with a document of `block` may be from its score.

    n roundings in any order err by at most n u / (1 - n u) |x| |y| with u half of epsilon (Higham, Accuracy and
    Stability of Numerical Algorithms, 2nd edition, equation 3.5); twice that leaves room for those of the score, of
    this bound and of the comparison. What underflows errs by less than the smallest normal number.
    """
    width = block.shape[1]
    largest = row_norms(block).max()
    if norms.max(initial=0.0) * largest > np.finfo(np.float32).max / 2:
        raise UserError("embeddings are so large that their inner products overflow float32; scale them down")
    float32 = np.finfo(np.float32)
    return (width + 4) * float(float32.eps) * norms * largest + width * float(float32.tiny) * (norms > 0)


def _merge_block(
    best: Ranking,
    queries: Float[np.ndarray, "queries width"],
    block: Float[np.ndarray, "block width"],
    slack: Float[np.ndarray, " queries"],
    first: int,
) -> None:
    """Puts the documents of `block`, of which `first` is the index of the first, in their places in `best`."""
    possible = _possible(best.scores, queries @ block.T, slack)
    counts = np.count_nonzero(possible, axis=1)
    # Queries with like numbers of documents together: they are padded to the most.
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    start = 0
    while start < len(order):
        most = int(counts[order[start]])
        group = order[start : start + max(1, _RESCORED_VALUES // (most * block.shape[1]))]
        start += len(group)
        # Flat, since np.nonzero takes several times as long on a matrix.
        rows, columns = np.divmod(np.flatnonzero(possible[group]), len(block))
        places = np.arange(len(rows)) - np.searchsorted(rows, rows)
        indices = np.zeros((len(group), most), np.int64)
        scores = np.full((len(group), most), -np.inf, np.float32)
        indices[rows, places] = first + columns
        scores[rows, places] = np.multiply(queries[group[rows]], block[columns], dtype=np.float64).sum(axis=-1)
        indices = np.concatenate([best.indices[group], indices], axis=1)
        scores = np.concatenate([best.scores[group], scores], axis=1)
        # A stable sort keeps the order of equal scores, which is that of indices: earlier blocks come first.
        kept = np.argsort(-scores, axis=1, kind="stable")[:, : best.scores.shape[1]]
        best.indices[group] = np.take_along_axis(indices, kept, axis=1)
        best.scores[group] = np.take_along_axis(scores, kept, axis=1)


def _possible(
    best: Float[np.ndarray, "queries k"],
    approximate: Float[np.ndarray, "queries block"],
    slack: Float[np.ndarray, " queries"],
) -> Bool[np.ndarray, "queries block"]:
    """Returns which documents of a block may be among the `k` best."""
    k, documents = best.shape[1], approximate.shape[1]
    # A later document with the score of the last is no better: strictly above.
    above = (best[:, -1] - slack).astype(np.float32)
    if documents > k and np.isneginf(best[:, -1]).any():
        own = np.partition(approximate, documents - k, axis=1)[:, documents - k] - 2 * slack
        above = np.maximum(above, np.nextafter(own.astype(np.float32), np.float32(-np.inf)))
    return approximate > above[:, None]
