"""Indices of FAISS (arXiv 2401.08281), which find most of the nearest documents in a fraction of the time."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from m5jax.errors import UserError, check_least, unknown_name
from m5jax.retrieval.embeddings import (
    Metric,
    blocks_of,
    check_metric,
    check_width,
    embedding_matrix,
    read_blocks,
    row_count,
    unit_rows,
)
from m5jax.retrieval.ranking import NO_DOCUMENT, Ranking, check_k

Kind: TypeAlias = Literal["flat", "hnsw", "ivf"]
KINDS = ("flat", "hnsw", "ivf")
_DOCUMENT_BLOCK, _QUERY_BLOCK = 16_384, 1024
# FAISS warns where k-means has fewer than 39 points a list.
_LEAST_A_LIST, _TRAINED_A_LIST = 39, 64


@dataclasses.dataclass(frozen=True)
class IndexSettings:
    """Which index, and how far it looks.

    Attributes:
        kind: `flat` compares with every document and is exact but for rounding and ties; `hnsw` follows a graph of
            neighbours (arXiv 1603.09320); `ivf` compares with the documents of the lists whose centroids are nearest.
        neighbors: of `hnsw`: links of a document, M in the paper; 8 bytes of memory for each.
        ef_construction: of `hnsw`: candidates followed while building; more is slower and better.
        ef_search: of `hnsw`: candidates followed in a search, at least k; more is slower and better.
        lists: of `ivf`: clusters; None for 4 times the square root of the documents, and no more than 39 documents
            each allow for.
        probes: of `ivf`: lists compared with in a search; more is slower and better.
        seed: of the levels of `hnsw` and of the k-means of `ivf`.
        threads: of FAISS; None for all cores. Whether a graph built by several threads is the same each time depends
            on the version of FAISS: with 1 it is.
    """

    kind: Kind = "flat"
    neighbors: int = 32
    ef_construction: int = 200
    ef_search: int = 128
    lists: int | None = None
    probes: int = 32
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of index", self.kind, KINDS)
        check_least(self, neighbors=2, ef_construction=1, ef_search=1, lists=1, probes=1, seed=0, threads=1)


class FaissIndex:
    """An index of documents, in memory; made by `FaissIndex.build`."""

    def __init__(self, index: Any, settings: IndexSettings, metric: Metric) -> None:
        self._index = index
        self._settings = settings
        self._metric = metric

    @classmethod
    def build(cls, documents: np.ndarray | Path, settings: IndexSettings, *, metric: Metric = "cosine") -> "FaissIndex":
        """Returns an index of `documents`, a matrix or a .npy file; it holds them all in float32.

        Args:
            documents: [documents, width]; read twice for `ivf`, whose k-means sees a random sample of 64 a list.
            metric: `cosine`, or `inner_product`, of which graphs and lists find less where norms differ much.

        Raises:
            UserError: faiss is not installed, or `documents` is not as said or too small for the lists.
        """
        faiss = load_faiss()
        check_metric(metric)
        count = row_count(documents)
        width = next((block.shape[1] for block in read_blocks(documents, 1)), None)
        if not count or width is None:
            raise UserError("an index of no documents; allowed: 1 and above")
        index = _empty_index(faiss, settings, count, width)
        with _threads(faiss, settings.threads):
            if settings.kind == "ivf":
                index.train(_sample(documents, metric, _TRAINED_A_LIST * index.nlist, settings.seed))
            with tqdm(total=count, unit=" documents", desc=f"building {settings.kind}", disable=None) as bar:
                for block in read_blocks(documents, _DOCUMENT_BLOCK):
                    index.add(unit_rows(block) if metric == "cosine" else block)
                    bar.update(len(block))
        return cls(index, settings, metric)

    def search(self, queries: Float[np.ndarray, "queries width"], k: int) -> Ranking:
        """Returns the `k` best documents that the index finds for each query; fewer where it finds fewer.

        Raises:
            UserError: the queries are no matrix of finite floats as wide as the documents.
        """
        check_k(k)
        queries = embedding_matrix(queries, "queries")
        check_width(queries, self._index.d)
        if self._metric == "cosine":
            queries = unit_rows(queries)
        indices = np.empty((len(queries), k), np.int64)
        scores = np.empty((len(queries), k), np.float32)
        with (
            _threads(load_faiss(), self._settings.threads),
            tqdm(total=len(queries), unit=" queries", desc="searching", leave=None, disable=None) as bar,
        ):
            for rows in blocks_of(len(queries), _QUERY_BLOCK):
                scores[rows], indices[rows] = self._index.search(queries[rows], k)
                bar.update(rows.stop - rows.start)
        indices[indices < 0], scores[indices < 0] = NO_DOCUMENT, -np.inf
        order = np.lexsort((indices, -scores))  # FAISS leaves equal scores in any order
        return Ranking(np.take_along_axis(indices, order, axis=1), np.take_along_axis(scores, order, axis=1))


def load_faiss() -> ModuleType:
    """Returns the package.

    Raises:
        UserError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise UserError(f"indices need the package faiss-cpu ({error}); pip install faiss-cpu") from error
    return faiss


def _empty_index(faiss: ModuleType, settings: IndexSettings, count: int, width: int) -> Any:
    if settings.kind == "flat":
        return faiss.IndexFlatIP(width)
    if settings.kind == "hnsw":
        index = faiss.IndexHNSWFlat(width, settings.neighbors, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = settings.ef_construction
        index.hnsw.efSearch = settings.ef_search
        index.hnsw.rng = faiss.RandomGenerator(settings.seed)
        return index
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, _lists(settings, count), faiss.METRIC_INNER_PRODUCT)
    # Centroids of any length would draw to the longest of them the documents of all others.
    index.cp.spherical = True
    index.cp.seed = settings.seed
    index.nprobe = settings.probes
    return index


def _lists(settings: IndexSettings, count: int) -> int:
    if settings.lists is None:
        return max(1, min(round(4 * math.sqrt(count)), count // _LEAST_A_LIST))
    if settings.lists > count:
        raise UserError(f"IndexSettings.lists = {settings.lists} for {count:,} documents; allowed: one each or fewer")
    return settings.lists


def _sample(documents: np.ndarray | Path, metric: Metric, size: int, seed: int) -> Float[np.ndarray, "sample width"]:
    """Returns `size` random rows, or all where there are fewer, in their order."""
    count = row_count(documents) or 0
    chosen = np.sort(np.random.default_rng(seed).choice(count, min(size, count), replace=False))
    parts, first = [], 0
    for block in read_blocks(documents, _DOCUMENT_BLOCK):
        low, high = np.searchsorted(chosen, [first, first + len(block)])
        parts.append(block[chosen[low:high] - first])
        first += len(block)
    sample = np.concatenate(parts)
    return unit_rows(sample) if metric == "cosine" else sample


@contextlib.contextmanager
def _threads(faiss: ModuleType, threads: int | None) -> Iterator[None]:
    """FAISS has one number of threads for the whole process: it is set back afterwards."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads or before)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
