"""Documents that look like a query's positives and are none: hard negatives for contrastive training."""

import collections
import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int, Int8
from tqdm import tqdm

from m5jax.errors import UserError
from m5jax.retrieval.approximate import FaissIndex
from m5jax.retrieval.embeddings import blocks_of, check_width, embedding_matrix, unit_rows
from m5jax.retrieval.exact import search_exact
from m5jax.retrieval.hard_negative_settings import HardNegativeSettings
from m5jax.retrieval.known_positives import KnownPositives
from m5jax.retrieval.ranking import NO_DOCUMENT, Ranking

SOURCES = ("dense", "lexical", "random")
_RANDOM = SOURCES.index("random")
BOUNDS = ("max_score", "relative_margin", "absolute_margin")
_QUERY_BLOCK = 4096  # queries whose dense candidates are in memory at once
Search: TypeAlias = Callable[[np.ndarray], Ranking]


@dataclasses.dataclass(frozen=True)
class MinedNegatives:
    """The negatives of each query, those of one source together.

    Attributes:
        indices: int64 [queries, negatives], which documents.
        sources: int8 [queries, negatives], where each came from: an index into `SOURCES`.
        filled: how many of the random ones stand in for dense or lexical ones, of which too few were left.
        dropped: how many candidates were dropped as known positives (`positive`), by `skip_top` and by each bound; one
            that several bounds drop counts for the first of them.
    """

    indices: Int[np.ndarray, "queries negatives"]
    sources: Int8[np.ndarray, "queries negatives"]
    filled: int
    dropped: Mapping[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """How many negatives came from each source."""
        return {name: int(np.count_nonzero(self.sources == source)) for source, name in enumerate(SOURCES)}

    @property
    def shares(self) -> dict[str, float]:
        """The share of each source, 0 to 1."""
        return {name: count / max(self.sources.size, 1) for name, count in self.counts.items()}


def mine_hard_negatives(
    queries: Float[np.ndarray, "queries width"],
    documents: Float[np.ndarray, "documents width"],
    known: KnownPositives,
    settings: HardNegativeSettings,
    *,
    lexical: Ranking | None = None,
    refresh: int = 0,
) -> MinedNegatives:
    """Returns negatives of each query: never a known positive, nor one document twice.

    They are drawn at random among the candidates that are left, by the settings' seed, `refresh` and the query's
    number alone. A candidate that was dropped as too near comes back as a random negative only where no other
    document is left.

    Args:
        queries: embeddings of the model that is being trained.
        documents: embeddings of the same model; in memory or mapped.
        known: the positives of each query.
        settings: how many, from where.
        lexical: candidates of each query by BM25, where `lexical_share` is above 0.
        refresh: how many times negatives were mined before: each time gives other ones.

    Raises:
        UserError: what is given does not fit together, or a query has too few documents that are no known positives.
    """
    queries = embedding_matrix(queries, "queries")
    check_width(queries, documents.shape[1])
    if (len(known), known.documents) != (len(queries), len(documents)):
        raise UserError(
            f"positives of {len(known):,} queries among {known.documents:,} documents; allowed: those of the "
            f"embeddings, {len(queries):,} and {len(documents):,}"
        )
    if (lexical is None) != (settings.lexical_share == 0.0):
        raise UserError(
            f"HardNegativeSettings.lexical_share = {settings.lexical_share} with{'out' if lexical is None else ''} "
            "lexical candidates; allowed: above 0 with them, 0 without"
        )
    if lexical is not None and len(lexical.indices) != len(queries):
        raise UserError(f"lexical candidates of {len(lexical.indices):,} queries; allowed: of {len(queries):,}")
    if lexical is not None and lexical.indices.max(initial=NO_DOCUMENT) >= len(documents):
        raise UserError(
            f"lexical candidates up to {lexical.indices.max()}; allowed: to {len(documents) - 1}, the documents"
        )
    miner = _Miner(documents, known, settings, refresh)
    search = _dense_search(documents, settings)
    indices = np.empty((len(queries), settings.negatives_per_query), np.int64)
    sources = np.empty(indices.shape, np.int8)
    with tqdm(total=len(queries), unit=" queries", desc="mining", disable=None) as bar:
        for rows in blocks_of(len(queries), _QUERY_BLOCK):
            units = unit_rows(queries[rows])
            dense = search(units)
            for place, query in enumerate(range(rows.start, rows.stop)):
                rankings = [dense.indices[place]] + ([] if lexical is None else [lexical.indices[query]])
                indices[query], sources[query] = miner.mine(query, units[place], rankings)
            bar.update(len(units))
    return MinedNegatives(indices, sources, miner.filled, dict(miner.dropped))


def _dense_search(documents: np.ndarray, settings: HardNegativeSettings) -> Search:
    """Returns what ranks the documents for unit queries; nothing where no dense negatives are wanted."""
    if settings.dense_share == 0.0:
        return lambda queries: Ranking(np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32))
    if settings.index is None:
        return lambda queries: search_exact(queries, documents, settings.candidate_depth)
    index = FaissIndex.build(documents, settings.index)
    return lambda queries: index.search(queries, settings.candidate_depth)


class _Miner:
    """Draws the negatives of one query at a time, and counts."""

    def __init__(
        self, documents: np.ndarray, known: KnownPositives, settings: HardNegativeSettings, refresh: int
    ) -> None:
        self._documents = documents
        self._known = known
        self._settings = settings
        self._refresh = refresh
        self.filled = 0
        self.dropped = collections.Counter(dict.fromkeys(("positive", "skip_top", *BOUNDS), 0))

    def mine(
        self, query: int, unit: Float[np.ndarray, " width"], rankings: list[Int[np.ndarray, " ranks"]]
    ) -> tuple[Int[np.ndarray, " negatives"], list[int]]:
        """Returns the negatives of a query and their sources; `rankings` are the dense one and any lexical one."""
        random = np.random.default_rng((self._settings.seed, self._refresh, query))
        wanted = self._wanted(random)
        limits = self._limits(query, unit)
        bounded = [self._bounded(query, unit, ranking, limits) for ranking in rankings]
        near = np.concatenate([near for _, near in bounded])
        chosen = np.empty(0, np.int64)
        sources: list[int] = []
        for source, (left, _) in enumerate(bounded):
            # What one ranking skips as too near is too near for the other.
            left = np.setdiff1d(left, np.append(chosen, near))
            drawn = random.permutation(left)[: wanted[source]]
            chosen = np.append(chosen, drawn)
            sources += [source] * len(drawn)
        missing = self._settings.negatives_per_query - len(chosen)
        self.filled += missing - wanted[_RANDOM]
        chosen = np.append(chosen, self._random(random, query, missing, chosen, near))
        return chosen, sources + [_RANDOM] * missing

    def _wanted(self, random: np.random.Generator) -> list[int]:
        """Returns how many of each source: whole numbers, whose expectations are the shares (systematic sampling)."""
        count, offset = self._settings.negatives_per_query, random.random()
        dense = int(count * self._settings.dense_share + offset)
        both = int(count * (self._settings.dense_share + self._settings.lexical_share) + offset)
        return [dense, both - dense, count - both]

    def _limits(self, query: int, unit: Float[np.ndarray, " width"]) -> dict[str, float]:
        """Returns the similarity that each bound allows at most."""
        settings, limits = self._settings, {}
        labelled = self._known.labelled[query]
        least = float(self._similarities(unit, labelled).min(initial=np.inf))
        if settings.max_score is not None:
            limits["max_score"] = settings.max_score
        if settings.relative_margin is not None and len(labelled):
            limits["relative_margin"] = least - (1.0 - settings.relative_margin) * abs(least)
        if settings.absolute_margin is not None and len(labelled):
            limits["absolute_margin"] = least - settings.absolute_margin
        return limits

    def _similarities(
        self, unit: Float[np.ndarray, " width"], documents: Int[np.ndarray, " documents"]
    ) -> Float[np.ndarray, " documents"]:
        return unit_rows(self._documents[documents]) @ unit

    def _bounded(
        self,
        query: int,
        unit: Float[np.ndarray, " width"],
        ranking: Int[np.ndarray, " ranks"],
        limits: Mapping[str, float],
    ) -> tuple[Int[np.ndarray, " left"], Int[np.ndarray, " near"]]:
        """Returns the candidates that are left, and those that are too near."""
        ranking = ranking[: self._settings.candidate_depth]
        ranking = ranking[ranking != NO_DOCUMENT]
        unknown = ranking[~self._known.among(query, ranking)]
        self.dropped["positive"] += len(ranking) - len(unknown)
        left = unknown[self._settings.skip_top :]
        self.dropped["skip_top"] += len(unknown) - len(left)
        if limits:
            similarities = self._similarities(unit, left)
            for name, limit in limits.items():
                kept = similarities <= limit
                self.dropped[name] += int(np.count_nonzero(~kept))
                left, similarities = left[kept], similarities[kept]
        return left, unknown[~np.isin(unknown, left)]

    def _random(
        self,
        random: np.random.Generator,
        query: int,
        count: int,
        chosen: Int[np.ndarray, " chosen"],
        near: Int[np.ndarray, " near"],
    ) -> Int[np.ndarray, " count"]:
        """Returns `count` other documents that are no known positives; those too near only where no others are left."""
        if not count:
            return np.empty(0, np.int64)
        drawn = random.integers(len(self._documents), size=2 * count + 8)
        drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
        drawn = drawn[~np.isin(drawn, chosen) & ~np.isin(drawn, near) & ~self._known.among(query, drawn)]
        if len(drawn) >= count:
            return drawn[:count]
        every = np.arange(len(self._documents))
        every = random.permutation(every[~np.isin(every, chosen) & ~self._known.among(query, every)])
        if len(every) < count:
            raise UserError(
                f"query {query:,} has {len(chosen) + len(every)} documents that are no known positives of it; allowed: "
                f"HardNegativeSettings.negatives_per_query ({self._settings.negatives_per_query}) and above"
            )
        return every[np.argsort(np.isin(every, near), kind="stable")][:count]
