"""BM25: the lexical baseline, and negatives that share words with a query.

The variant is Lucene's with its usual k1 = 1.2 and b = 0.75, and exact document lengths (Kamphuis et al., Which BM25 Do
You Mean?, ECIR 2020, table 1, "Lucene (accurate)"): a document d scores

    sum over the words t of the query of  ln(1 + (N - n_t + 0.5) / (n_t + 0.5)) * f / (f + k1 (1 - b + b |d| / avgdl))

where f of its |d| words are t, N is the number of documents, n_t of which have t, and avgdl their mean length. A word
that a query repeats counts each time.
"""

import contextlib
import logging
import math
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from m5jax.data.preparation.normalize import split_words
from m5jax.errors import UserError
from m5jax.retrieval.ranking import Ranking, empty_ranking


def words_of(text: str) -> list[str]:
    """Returns the words of `text` in Unicode's compatible form (NFKC), case-folded, without stemming.

    Each character of a script that is written without spaces (Chinese, Japanese, Thai, ...) is a word.
    """
    return split_words(unicodedata.normalize("NFKC", text))


class BM25:
    """Texts, indexed by their words, in memory: 8 bytes for each distinct word of a text, and while indexing 70."""

    def __init__(self, documents: Iterable[str], *, k1: float = 1.2, b: float = 0.75) -> None:
        """Indexes the texts.

        Args:
            documents: read once; scores and indices are in their order.
            k1: 0 and above; how much more a word counts that comes often.
            b: 0 to 1; how much less it counts in a long text.

        Raises:
            UserError: bm25s is not installed, k1 or b is out of its range, or no text has a word.
        """
        if not (math.isfinite(k1) and k1 >= 0.0):
            raise UserError(f"BM25: k1 = {k1}; allowed: 0 and above")
        if not 0.0 <= b <= 1.0:
            raise UserError(f"BM25: b = {b}; allowed: 0 to 1")
        library = _load_bm25s()
        vocabulary: dict[str, int] = {}
        ids = [
            [vocabulary.setdefault(word, len(vocabulary)) for word in words_of(text)]
            for text in tqdm(documents, unit=" texts", desc="indexing words", disable=None)
        ]
        if not vocabulary:
            raise UserError(f"BM25: none of {len(ids):,} texts has a word")
        self._count = len(ids)
        self._vocabulary = vocabulary
        self._index = library.BM25(k1=k1, b=b, method="lucene")
        self._index.index((ids, vocabulary), create_empty_token=False, show_progress=False)

    def __len__(self) -> int:
        return self._count

    def search(self, queries: Sequence[str], k: int) -> Ranking:
        """Returns the `k` best texts for each query; fewer where fewer share a word with it.

        Of equal scores, the text that comes first is first.

        Raises:
            UserError: `k` is below 1.
        """
        best = empty_ranking(len(queries), k)
        for row, query in enumerate(tqdm(queries, unit=" queries", desc="searching words", disable=None)):
            scores = self._scores(query)
            (sharing,) = np.nonzero(scores)
            if len(sharing) > k:
                least = np.partition(scores[sharing], len(sharing) - k)[len(sharing) - k]
                sharing = sharing[scores[sharing] >= least]
            chosen = sharing[np.argsort(-scores[sharing], kind="stable")[:k]]
            best.indices[row, : len(chosen)] = chosen
            best.scores[row, : len(chosen)] = scores[chosen]
        return best

    def scores(self, queries: Sequence[str], candidates: Sequence[Sequence[int]]) -> list[Float[np.ndarray, " texts"]]:
        """Returns the float32 scores of given texts for each query, 0 where they share no word with it.

        Args:
            queries: as many as `candidates`.
            candidates: for each query, the indices of the texts, in any order.

        Raises:
            UserError: there are not as many, or an index is not that of a text.
        """
        if len(queries) != len(candidates):
            raise UserError(f"BM25: {len(queries):,} queries and {len(candidates):,} lists of texts; allowed: as many")
        found = []
        for row, (query, texts) in enumerate(zip(queries, candidates, strict=True)):
            indices = np.asarray(texts, np.int64)
            if len(indices) and (indices.min() < 0 or indices.max() >= self._count):
                raise UserError(
                    f"BM25: query {row:,} has texts {indices.min()} to {indices.max()}; allowed: 0 to {self._count - 1}"
                )
            found.append(self._scores(query)[indices])
        return found

    def _scores(self, query: str) -> Float[np.ndarray, " documents"]:
        known = [self._vocabulary[word] for word in words_of(query) if word in self._vocabulary]
        return self._index.get_scores_from_ids(known)


def _load_bm25s() -> ModuleType:
    try:
        with _hidden("jax"):
            import bm25s
    except ImportError as error:
        raise UserError(f"BM25 needs the package bm25s ({error}); pip install bm25s") from error
    # Its import lets debugging messages through, whatever the level of the root logger.
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    return bm25s


@contextlib.contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Makes imports of `name` fail.

    Where it finds JAX, bm25s runs a computation when it is imported: that would claim the accelerators of a process
    that has none to use, and come before jax.distributed.initialize, which has to be first. What it would use JAX for
    is not used here.
    """
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
