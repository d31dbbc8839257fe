import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.retrieval.approximate import FaissIndex, IndexSettings, Kind, load_faiss
from m5jax.retrieval.embeddings import Metric
from m5jax.retrieval.exact import search_exact
from m5jax.retrieval.ranking import NO_DOCUMENT, recall


def near_a_plane(count: int, width: int = 16, rank: int = 4) -> np.ndarray:
    """Embeddings that vary in few directions, as those of models do: there are neighbours to be found."""
    random = np.random.default_rng(count)
    directions = np.random.default_rng(0).normal(size=(rank, width))
    return (random.normal(size=(count, rank)) @ directions + 0.05 * random.normal(size=(count, width))).astype("f4")


DOCUMENTS, QUERIES = near_a_plane(3000), near_a_plane(50)


@settings(max_examples=30)
@given(st.integers(1, 200), st.integers(1, 40), st.integers(1, 30), st.sampled_from(["cosine", "inner_product"]))
def test_flat_finds_what_the_exact_search_finds(documents: int, queries: int, k: int, metric: Metric) -> None:
    index = FaissIndex.build(near_a_plane(documents), IndexSettings(), metric=metric)
    found = index.search(near_a_plane(queries), k)
    exact = search_exact(near_a_plane(queries), near_a_plane(documents), k, metric=metric)
    np.testing.assert_array_equal(found.indices == NO_DOCUMENT, exact.indices == NO_DOCUMENT)
    np.testing.assert_allclose(found.scores, exact.scores, rtol=1e-5, atol=1e-5)
    assert recall(found, exact) == 1.0


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_approximate_indices_find_nearly_all_and_their_scores_are_true(kind: Kind) -> None:
    index = FaissIndex.build(DOCUMENTS, IndexSettings(kind, probes=30))
    found = index.search(QUERIES, 10)
    assert recall(found, search_exact(QUERIES, DOCUMENTS, 10)) > 0.95
    unit_queries, unit_documents = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (QUERIES, DOCUMENTS))
    true = np.take_along_axis(unit_queries @ unit_documents.T, found.indices, axis=1)
    np.testing.assert_allclose(found.scores, true, atol=1e-5)
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_looking_further_finds_more() -> None:
    recalls = {}
    for kind, little, much in (("ivf", {"probes": 1}, {"probes": 77}), ("hnsw", {"ef_search": 1}, {"ef_search": 400})):
        for name, far in (("little", little), ("much", much)):
            chosen = IndexSettings(kind, neighbors=4, ef_construction=8, lists=77 if kind == "ivf" else None, **far)
            found = FaissIndex.build(DOCUMENTS, chosen).search(QUERIES, 5)
            recalls[kind, name] = recall(found, search_exact(QUERIES, DOCUMENTS, 5))
    assert recalls["ivf", "little"] < recalls["ivf", "much"] == 1.0
    assert recalls["hnsw", "little"] < recalls["hnsw", "much"]


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_one_thread_and_one_seed_give_one_index(kind: Kind) -> None:
    def found(seed: int) -> np.ndarray:
        chosen = IndexSettings(kind, neighbors=4, ef_construction=8, ef_search=4, probes=2, seed=seed, threads=1)
        return FaissIndex.build(DOCUMENTS, chosen).search(QUERIES, 10).indices

    np.testing.assert_array_equal(found(1), found(1))
    assert (found(1) != found(2)).any()


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_a_file_gives_what_memory_gives(tmp_path: Path, kind: Kind) -> None:
    np.save(tmp_path / "e.npy", DOCUMENTS)
    wanted = FaissIndex.build(DOCUMENTS, IndexSettings(kind, threads=1)).search(QUERIES, 5)
    index = FaissIndex.build(tmp_path / "e.npy", IndexSettings(kind, threads=1))
    np.testing.assert_array_equal(index.search(QUERIES, 5).indices, wanted.indices)


def test_copies_of_a_document_are_in_the_order_of_their_indices() -> None:
    documents = np.tile(near_a_plane(5), (4, 1))
    found = FaissIndex.build(documents, IndexSettings()).search(documents[:5], 4)
    np.testing.assert_array_equal(found.indices, np.arange(5)[:, None] + [0, 5, 10, 15])


def test_the_number_of_threads_of_the_process_is_set_back() -> None:
    faiss = load_faiss()
    before = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(2)
        FaissIndex.build(DOCUMENTS[:10], IndexSettings(threads=1)).search(QUERIES, 2)
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match="pip install faiss-cpu"):
        FaissIndex.build(DOCUMENTS, IndexSettings())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "hsnw"}, "unknown kind of index 'hsnw'; did you mean hnsw"),
        ({"neighbors": 1}, "IndexSettings.neighbors = 1; allowed: 2 and above"),
        ({"ef_search": 0}, "IndexSettings.ef_search = 0"),
        ({"lists": 0}, "IndexSettings.lists = 0"),
        ({"probes": 0}, "IndexSettings.probes = 0"),
        ({"threads": 0}, "IndexSettings.threads = 0"),
        ({"seed": -1}, "IndexSettings.seed = -1"),
    ],
)
def test_wrong_settings_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        IndexSettings(**fields)


def test_wrong_input_is_refused() -> None:
    index = FaissIndex.build(DOCUMENTS, IndexSettings())
    with pytest.raises(UserError, match="not of one model"):
        index.search(QUERIES[:, :3], 2)
    with pytest.raises(UserError, match="the 0 best"):
        index.search(QUERIES, 0)
    with pytest.raises(UserError, match="no documents"):
        FaissIndex.build(DOCUMENTS[:0], IndexSettings())
    with pytest.raises(UserError, match="lists = 11 for 10 documents"):
        FaissIndex.build(DOCUMENTS[:10], IndexSettings("ivf", lists=11))
