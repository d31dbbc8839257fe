"""The streamed search against a sort of all scores, and what it holds in memory."""

import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.neighbors import NearestNeighbors

from m5jax.errors import UserError
from m5jax.retrieval import exact
from m5jax.retrieval.embeddings import Metric, unit_rows
from m5jax.retrieval.exact import search_exact
from m5jax.retrieval.ranking import NO_DOCUMENT, Ranking

SIZES = st.integers(1, 40)


def sort_all(queries: np.ndarray, documents: np.ndarray, k: int, metric: Metric) -> Ranking:
    """One pair at a time in float64, all pairs at once, sorted by score and then by index."""
    if metric == "cosine":
        queries, documents = unit_rows(queries), unit_rows(documents)
    pairs = [[np.dot(q.astype(np.float64), d.astype(np.float64)) for d in documents] for q in queries]
    scores = np.array(pairs).reshape(len(queries), len(documents)).astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    missing = max(0, k - len(documents))
    indices = np.pad(order, ((0, 0), (0, missing)), constant_values=NO_DOCUMENT)
    sorted_scores = np.take_along_axis(scores, order, axis=1)
    return Ranking(indices, np.pad(sorted_scores, ((0, 0), (0, missing)), constant_values=-np.inf))


def assert_same(found: Ranking, wanted: Ranking) -> None:
    np.testing.assert_array_equal(found.indices, wanted.indices)
    np.testing.assert_array_equal(found.scores, wanted.scores)


@st.composite
def embeddings_with_copies(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Queries and documents, many of which are copies of few."""
    width = draw(st.integers(1, 20))
    # Few distinct values, so that other documents than copies tie too; no sum of them is rounded in float64.
    values = st.sampled_from([-1.5, -1.0, -0.25, 0.0, 0.25, 1.0, 3.0])
    queries = draw(hnp.arrays(np.float32, (draw(st.integers(0, 6)), width), elements=values))
    distinct = draw(hnp.arrays(np.float32, (draw(st.integers(1, 8)), width), elements=values))
    places = draw(st.lists(st.integers(0, len(distinct) - 1), max_size=60))
    return queries, distinct[np.array(places, int)]


@given(embeddings_with_copies(), st.integers(1, 70), SIZES, SIZES, st.sampled_from(["cosine", "inner_product"]))
def test_the_ranking_is_that_of_a_stable_sort_whatever_the_blocks(
    embeddings: tuple[np.ndarray, np.ndarray], k: int, document_block: int, query_block: int, metric: Metric
) -> None:
    queries, documents = embeddings
    found = search_exact(queries, documents, k, metric=metric, document_block=document_block, query_block=query_block)
    assert_same(found, sort_all(queries, documents, k, metric))


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 300), SIZES, st.integers(1, 100))
def test_the_ranking_of_copies_of_any_embeddings_does_not_depend_on_the_blocks(
    seed: int, document_block: int, other_block: int, query_block: int, width: int
) -> None:
    # A float32 product gives copies in different places different scores: the widths and blocks here show it.
    random = np.random.default_rng(seed)
    queries = random.normal(size=(40, width)).astype(np.float32)
    documents = random.normal(size=(30, width)).astype(np.float32)[random.integers(0, 30, 300)]
    documents += random.normal(size=(300, 1)).astype(np.float32) * random.choice([0.0, 1e-7], (300, 1))
    found = search_exact(queries, documents, 25, document_block=document_block, query_block=query_block)
    assert_same(found, search_exact(queries, documents, 25, document_block=other_block))
    # Scores fall, and of equal scores the index rises.
    ordered = (np.diff(found.scores) < 0) | ((np.diff(found.scores) == 0) & (np.diff(found.indices) > 0))
    assert ordered.all()


def test_the_nearest_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    queries, documents = (random.normal(size=(n, 64)).astype(np.float32) for n in (30, 2000))
    distances, indices = NearestNeighbors(metric="cosine", algorithm="brute").fit(documents).kneighbors(queries, 20)
    found = search_exact(queries, documents, 20, document_block=300)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.scores, 1 - distances, atol=1e-5)


def test_the_bound_on_rounding_holds() -> None:
    random = np.random.default_rng(1)
    for width in (1, 7, 64, 1000):
        queries, block = (random.normal(size=(200, width)).astype(np.float32) for _ in range(2))
        queries[0], block[0] = 0.0, 0.0
        block[1] *= 1e4
        slack = exact._rounding(exact.row_norms(queries), block)
        exactly = queries.astype(np.float64) @ block.astype(np.float64).T
        errors = np.abs(queries @ block.T - exactly).max(axis=1)
        assert (errors <= slack / 2).all()
        assert (slack <= 1e-6 * (width + 4) * exact.row_norms(queries) * exact.row_norms(block).max()).all()


def test_a_file_and_a_map_give_what_memory_gives(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    queries, documents = (random.normal(size=(n, 8)).astype(np.float32) for n in (5, 100))
    np.save(tmp_path / "e.npy", documents)
    wanted = sort_all(queries, documents, 9, "cosine")
    for source in (tmp_path / "e.npy", np.load(tmp_path / "e.npy", mmap_mode="r")):
        assert_same(search_exact(queries, source, 9, document_block=13, query_block=2), wanted)


class CountedBlocks:
    """Makes blocks one by one and counts how many of them are alive at once."""

    def __init__(self, count: int, rows: int, width: int) -> None:
        self.count, self.rows, self.width = count, rows, width
        self.alive = self.most = 0

    def _dead(self) -> None:
        self.alive -= 1

    def __iter__(self) -> Iterator[np.ndarray]:
        random = np.random.default_rng(3)
        for _ in range(self.count):
            block = random.standard_normal((self.rows, self.width), dtype=np.float32)
            weakref.finalize(block, self._dead)
            self.alive += 1
            self.most = max(self.most, self.alive)
            yield block
            del block


@pytest.mark.parametrize("metric", ["cosine", "inner_product"])
def test_blocks_are_released_before_the_next_is_made(metric: Metric) -> None:
    blocks = CountedBlocks(30, 50, 4)
    found = search_exact(np.ones((3, 4), np.float32), blocks, 5, metric=metric, document_block=50)
    assert found.indices.max() > 50
    assert blocks.most == 1
    assert blocks.alive == 0


def peak_bytes(blocks: int) -> int:
    queries = np.random.default_rng(4).standard_normal((400, 16), dtype=np.float32)
    tracemalloc.start()
    search_exact(queries, CountedBlocks(blocks, 500, 16), 10, document_block=500, query_block=100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_documents() -> None:
    few, many = peak_bytes(4), peak_bytes(40)
    assert many < 1.1 * few
    # 400 queries x 20,000 documents would be 32 MB in float32.
    assert many < 8_000_000


def test_memory_is_bounded_where_all_documents_tie() -> None:
    tracemalloc.start()
    found = search_exact(
        np.ones((200, 64), np.float32), np.ones((3000, 64), np.float32), 5, document_block=1000, query_block=200
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(found.indices, np.tile(np.arange(5), (200, 1)))
    # The pairs of a block, rescored at once, would be 200 x 1000 x 64 x 16 bytes: 205 MB.
    assert peak < 60_000_000


def test_wrong_input_is_refused() -> None:
    queries, documents = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    with pytest.raises(UserError, match="not of one model"):
        search_exact(queries, np.ones((4, 5), np.float32), 1)
    with pytest.raises(UserError, match="the 0 best"):
        search_exact(queries, documents, 0)
    with pytest.raises(UserError, match="unknown metric 'euclidean'"):
        search_exact(queries, documents, 1, metric="euclidean")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="overflow float32"):
        search_exact(queries * 1e30, documents * 1e30, 1, metric="inner_product")
    with pytest.raises(UserError, match="blocks of 0 queries"):
        search_exact(queries, documents, 1, query_block=0)
