import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from m5jax.errors import UserError
from m5jax.finetuning.search_data import SearchData, gather, plain_text
from m5jax.finetuning.search_systems import (
    DEPTH,
    FETCHED,
    Embedded,
    Found,
    Lexical,
    Towers,
    embed_by_sentence_transformer,
    embed_texts,
    found_among_all,
    found_among_judged,
    load_sentence_transformer,
    recall_of_exact,
    search_by_index,
)
from m5jax.finetuning.tasks import PairLabels
from m5jax.retrieval.bm25 import BM25
from m5jax.retrieval.ranking import Ranking
from tests.finetuning import search_examples as tiny

LABELS = PairLabels(1.0, 3.0, 2.0)


def search_data(seed: int = 0) -> SearchData:
    return gather(tiny.judged_pairs(seed), LABELS, ["<title> big chair", "<title> hose"])


def tower_embeddings(similarity: str, data: SearchData) -> Towers:
    scorer, parameters = tiny.scorer(similarity), tiny.towers(similarity)[1]
    left, right = (
        embed_texts(scorer, parameters, tiny.tokenizer(), tiny.LENGTH, texts, is_right)
        for texts, is_right in ((data.queries, False), (data.documents, True))
    )
    return Towers(scorer, parameters, similarity, left, right)


def ranked(found: Found, query: int) -> list[int]:
    return found.documents[found.queries == query].tolist()


@pytest.mark.parametrize("size", [0, 3])
@pytest.mark.parametrize("similarity", ["cosine", "dot", "bilinear"])
def test_towers_find_and_rank_as_similarities_one_by_one_do(similarity: str, size: int) -> None:
    data = search_data()
    naive = tiny.naive_similarities(similarity, tiny.towers(similarity)[1], data.queries, data.documents, size)
    system = tower_embeddings(similarity, data).system(size)
    everything = found_among_all(data, system.search(FETCHED))
    judged = found_among_judged(data, system.scores(data.judged))
    for query in range(len(data.queries)):
        own = data.judged[data.judged[:, 0] == query, 1]
        for found, documents in ((everything, range(len(data.documents))), (judged, own)):
            assert sorted(ranked(found, query)) == list(documents)
            assert np.diff(naive[query, ranked(found, query)]).max() < 1e-6  # falling, but for rounding
            assert found.ranks[found.queries == query].tolist() == list(range(1, len(documents) + 1))
    spread = 1.0 if similarity == "cosine" else (size or tiny.SIZE) ** 0.5
    np.testing.assert_allclose(
        everything.scores, naive[everything.queries, everything.documents] / spread, rtol=1e-4, atol=1e-5
    )


def test_of_equal_scores_the_document_that_comes_first_is_first() -> None:
    data = search_data()
    found = found_among_judged(data, np.zeros(len(data.judged)))
    np.testing.assert_array_equal(np.stack([found.queries, found.documents], axis=1), data.judged)


def test_a_query_does_not_find_itself_and_the_best_hundred_of_the_others_count() -> None:
    generator = np.random.default_rng(0)
    texts = [f"<title> {number}" for number in range(150)]
    pairs = [tiny.Example("", (texts[0], texts[1]), 1.0), tiny.Example("", (texts[2], texts[2]), 1.0)]
    data = gather(pairs, PairLabels(), texts)
    own, judged_for_itself = data.documents.index(texts[0]), data.documents.index(texts[2])
    assert data.itself.tolist() == [own, -1]
    vectors = generator.normal(size=(150, 8)).astype(np.float32)
    found = found_among_all(data, Embedded(vectors[[own, judged_for_itself]], vectors, "cosine").search(FETCHED))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    order = np.argsort(-unit @ unit[[own, judged_for_itself]].T, axis=0)
    assert order[0].tolist() == [own, judged_for_itself]
    assert ranked(found, 0) == order[1 : DEPTH + 1, 0].tolist()
    assert ranked(found, 1) == order[:DEPTH, 1].tolist()


def test_words_are_searched_and_ranked_by_bm25() -> None:
    data = search_data()
    queries, documents = ([plain_text(text) for text in side] for side in (data.queries, data.documents))
    lexical = Lexical(queries, documents)
    every = BM25(documents).scores(queries, [range(len(documents))] * len(queries))
    everything = found_among_all(data, lexical.search(FETCHED))
    judged = found_among_judged(data, lexical.scores(data.judged))
    for query, scores in enumerate(every):
        order = [document for document in np.argsort(-scores, kind="stable") if scores[document] > 0]
        assert ranked(everything, query) == order
        own = data.judged[data.judged[:, 0] == query, 1]
        assert ranked(judged, query) == sorted(own, key=lambda document: (-scores[document], document))


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_an_index_finds_documents_of_which_the_share_of_the_exact_best_is_told(kind: Any) -> None:
    generator = np.random.default_rng(0)
    queries, documents = (generator.normal(size=(rows, 16)).astype(np.float32) for rows in (5, 4000))
    embedded = Embedded(queries, documents, "cosine")
    exact, found = embedded.search(20), search_by_index(embedded, kind, 20)
    shared = [len(set(one[:10]) & set(other[:10])) for one, other in zip(exact.indices, found.indices, strict=True)]
    assert recall_of_exact(found, exact, 10) == pytest.approx(sum(shared) / 50)
    assert sum(shared) > 25
    worse = Ranking(exact.indices[:, ::-1], exact.scores[:, ::-1])
    assert recall_of_exact(worse, exact, 10) == 0


class Encoder:
    """Embeds a text as the counts of a few letters, a query with another factor for each."""

    def __init__(self, similarity: str) -> None:
        self.similarity_fn_name = similarity

    def encode_query(self, inputs: list[str], batch_size: int, convert_to_numpy: bool) -> np.ndarray:
        return self.encode_document(inputs, batch_size, convert_to_numpy) * [3.0, 1.0, 2.0, 1.0]

    def encode_document(self, inputs: list[str], batch_size: int, convert_to_numpy: bool) -> np.ndarray:
        assert isinstance(inputs, list)
        assert convert_to_numpy
        assert batch_size == 7
        return np.array([[1.0 + text.count(letter) for letter in "reld"] for text in inputs])


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_sentence_transformers_embed_queries_and_documents_in_their_own_way(similarity: str) -> None:
    queries, documents = ["red drill", "blue"], ["lamp", "red", "drill drill", "chair"]
    counts = np.array([[1 + text.count(letter) for letter in "reld"] for text in (*queries, *documents)], np.float64)
    left, right = counts[:2] * [3, 1, 2, 1], counts[2:]
    if similarity == "cosine":
        left, right = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (left, right))
    system = embed_by_sentence_transformer(Encoder(similarity), queries, documents, 7)
    pairs = np.array([[query, document] for query in range(2) for document in range(4)])
    np.testing.assert_allclose(system.scores(pairs), (left @ right.T).reshape(-1), rtol=1e-6)


def test_a_folder_is_loaded_by_the_package_where_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UserError, match="needs the package sentence-transformers .*pip install sentence-transformers"):
        load_sentence_transformer(tmp_path)
    package: Any = ModuleType("sentence_transformers")
    package.SentenceTransformer = lambda folder, local_files_only: SimpleNamespace(
        folder=folder, local=local_files_only
    )
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    assert vars(load_sentence_transformer(tmp_path)) == {"folder": str(tmp_path), "local": True}

    def broken(folder: str, local_files_only: bool) -> None:
        raise OSError("no weights\nsecond line")

    package.SentenceTransformer = broken
    with pytest.raises(UserError, match=r"holds no model of sentence-transformers \(no weights\)$"):
        load_sentence_transformer(tmp_path)
