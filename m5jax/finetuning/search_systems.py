"""What ranks documents for queries: towers, shared words, foreign encoders, FAISS indices, models that read pairs."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int
from tqdm import tqdm

from m5jax.errors import UserError
from m5jax.finetuning.rows import Padded, Tokenizer, encode_texts
from m5jax.finetuning.scoring import Scorer
from m5jax.finetuning.search_data import SearchData
from m5jax.models import Parameters
from m5jax.retrieval.approximate import FaissIndex, IndexSettings, Kind
from m5jax.retrieval.bm25 import BM25
from m5jax.retrieval.embeddings import Metric, blocks_of, unit_rows
from m5jax.retrieval.exact import search_exact
from m5jax.retrieval.ranking import NO_DOCUMENT, Ranking, recall

DEPTH = 100  # documents of each query that count as found
FETCHED = DEPTH + 1  # one may be the query itself
_TEXTS = 16_384  # tokenized at once
_PAIRS = 65_536  # multiplied at once


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """Documents that were found for queries, by rising query, then best first.

    Attributes:
        queries, documents: int64 [rows], places in `SearchData`.
        scores: float64 [rows].
    """

    queries: Int[np.ndarray, " rows"]
    documents: Int[np.ndarray, " rows"]
    scores: Float[np.ndarray, " rows"]

    @functools.cached_property
    def ranks(self) -> Int[np.ndarray, " rows"]:
        """From 1."""
        return np.arange(len(self.queries)) - np.searchsorted(self.queries, self.queries) + 1


class System(Protocol):
    """What ranks documents for queries."""

    def search(self, k: int) -> Ranking:
        """Returns the `k` best of all documents for each query."""
        ...

    def scores(self, pairs: Int[np.ndarray, "pairs 2"]) -> Float[np.ndarray, " pairs"]:
        """Returns how well documents fit queries. Pairs are by rising query, and of each query there are some."""
        ...


def found_among_all(data: SearchData, ranking: Ranking) -> Found:
    """Returns the `DEPTH` best documents of a ranking of `FETCHED`, without those that are the query itself."""
    there = (ranking.indices != NO_DOCUMENT) & (ranking.indices != data.itself[:, None])
    there &= np.cumsum(there, axis=1) <= DEPTH
    return Found(np.nonzero(there)[0], ranking.indices[there], ranking.scores[there].astype(np.float64))


def found_among_judged(data: SearchData, scores: Float[np.ndarray, " judged"]) -> Found:
    """Returns each query's judged documents by their scores; of equal ones, the document that comes first."""
    queries, documents = data.judged.T
    order = np.lexsort((documents, -scores, queries))
    return Found(queries[order], documents[order], scores[order].astype(np.float64))


@dataclasses.dataclass(frozen=True, eq=False)
class Embedded:
    """Queries and documents as embeddings.

    Attributes:
        queries: float32 [queries, size].
        documents: float32 [documents, size].
        metric: of the two.
    """

    queries: Float[np.ndarray, "queries size"]
    documents: Float[np.ndarray, "documents size"]
    metric: Metric

    def search(self, k: int) -> Ranking:
        return search_exact(self.queries, self.documents, k, metric=self.metric)

    def scores(self, pairs: Int[np.ndarray, "pairs 2"]) -> Float[np.ndarray, " pairs"]:
        queries, documents = self.queries, self.documents
        if self.metric == "cosine":
            queries, documents = unit_rows(queries), unit_rows(documents)
        found = np.empty(len(pairs))
        for rows in blocks_of(len(pairs), _PAIRS):
            left, right = pairs[rows].T
            found[rows] = np.multiply(queries[left], documents[right], dtype=np.float64).sum(axis=1)
        return found


def search_by_index(embedded: Embedded, kind: Kind, k: int) -> Ranking:
    """Returns the `k` best documents that an index of FAISS finds for each query."""
    index = FaissIndex.build(embedded.documents, IndexSettings(kind), metric=embedded.metric)
    return index.search(embedded.queries, k)


def recall_of_exact(found: Ranking, exact: Ranking, k: int) -> float:
    """Returns the share of the exact `k` best that are among the `k` found; see `m5jax.retrieval.ranking.recall`."""
    return recall(*(Ranking(ranking.indices[:, :k], ranking.scores[:, :k]) for ranking in (found, exact)))


@dataclasses.dataclass(frozen=True, eq=False)
class Towers:
    """Embeddings of queries and documents by two towers, as the towers return them.

    Attributes:
        scorer: of the model.
        parameters: of the model.
        similarity: of the model, not "mlp", which nothing can search.
        left, right: float32 [queries, size] and [documents, size].
    """

    scorer: Scorer
    parameters: Parameters
    similarity: str
    left: Float[np.ndarray, "queries size"]
    right: Float[np.ndarray, "documents size"]

    def system(self, size: int = 0) -> Embedded:
        """Returns the embeddings cut to their first `size` dimensions (0: all), to be searched."""
        left, right = (np.ascontiguousarray(side[:, : size or None]) for side in (self.left, self.right))
        metric: Metric = "cosine" if self.similarity == "cosine" else "inner_product"
        return Embedded(self.scorer.searchable(self.parameters, left), right, metric)


def embed_texts(
    scorer: Scorer, parameters: Parameters, tokenizer: Tokenizer, length: int, texts: Sequence[str], right: bool
) -> Float[np.ndarray, "texts size"]:
    """Returns the embeddings of texts, cut to `length` tokens, as left or right sides."""
    parts = [
        scorer.embed(parameters, Padded.of(encode_texts(texts[rows], tokenizer, length)), right)
        for rows in tqdm(list(blocks_of(len(texts), _TEXTS)), desc="embedding", unit=" blocks", disable=None)
    ]
    return np.concatenate(parts)


@dataclasses.dataclass(frozen=True, eq=False)
class Lexical:
    """Words that queries and documents share, counted by BM25.

    Attributes:
        queries, documents: plain texts.
    """

    queries: Sequence[str]
    documents: Sequence[str]

    def search(self, k: int) -> Ranking:
        return BM25(self.documents).search(self.queries, k)

    def scores(self, pairs: Int[np.ndarray, "pairs 2"]) -> Float[np.ndarray, " pairs"]:
        starts = np.searchsorted(pairs[:, 0], np.arange(1, len(self.queries)))
        candidates = [own.tolist() for own in np.split(pairs[:, 1], starts)]
        return np.concatenate(BM25(self.documents).scores(self.queries, candidates))


def embed_by_sentence_transformer(
    encoder: Any, queries: Sequence[str], documents: Sequence[str], batch_size: int
) -> Embedded:
    """Returns plain texts as a model of the package sentence-transformers embeds queries and documents."""
    metric: Metric = "inner_product" if encoder.similarity_fn_name == "dot" else "cosine"
    left = encoder.encode_query(list(queries), batch_size=batch_size, convert_to_numpy=True)
    right = encoder.encode_document(list(documents), batch_size=batch_size, convert_to_numpy=True)
    return Embedded(np.asarray(left, np.float32), np.asarray(right, np.float32), metric)


def load_sentence_transformer(folder: Path) -> Any:
    """Returns the model in a folder; raises UserError where the package or the model is not there."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise UserError(
            f"{folder} needs the package sentence-transformers ({error}); pip install sentence-transformers"
        ) from error
    try:
        return SentenceTransformer(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{folder} holds no model of sentence-transformers ({reason})") from error
