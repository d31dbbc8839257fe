"""What holds of mined negatives, whatever the embeddings, the labels and the settings."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.retrieval.approximate import IndexSettings
from m5jax.retrieval.hard_negative_settings import HardNegativeSettings
from m5jax.retrieval.hard_negatives import SOURCES, MinedNegatives, mine_hard_negatives
from m5jax.retrieval.known_positives import KnownPositives
from m5jax.retrieval.ranking import NO_DOCUMENT, Ranking

WIDTH = 6
MARGIN = st.none() | st.floats(0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Catalog:
    queries: np.ndarray
    documents: np.ndarray
    positives: list[set[int]]
    groups: list[np.ndarray]
    anchors: np.ndarray
    lexical: Ranking

    def mine(self, chosen: HardNegativeSettings, refresh: int = 0) -> MinedNegatives:
        known = KnownPositives(self.positives, len(self.documents), self.groups, self.anchors)
        lexical = self.lexical if chosen.lexical_share else None
        return mine_hard_negatives(self.queries, self.documents, known, chosen, lexical=lexical, refresh=refresh)

    def similarities(self) -> np.ndarray:
        unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (self.queries, self.documents)]
        return unit[0] @ unit[1].T

    def forbidden(self, query: int) -> set[int]:
        own = self.positives[query] | ({int(self.anchors[query])} - {-1})
        every = range(len(self.documents))
        return own | {d for d in every for g in self.groups for one in own if g[d] == g[one] != -1}


def random_catalog(seed: int, queries: int = 8, documents: int = 60, lexical_depth: int = 20) -> Catalog:
    """Documents that are near copies of few, so that unlabelled ones are as near as labelled ones."""
    random = np.random.default_rng(seed)
    centers = random.normal(size=(10, WIDTH))
    near = [centers[random.integers(10, size=n)] + 0.1 * random.normal(size=(n, WIDTH)) for n in (queries, documents)]
    ranked = np.stack([random.permutation(documents)[:lexical_depth] for _ in range(queries)])
    ranked[random.random(ranked.shape) < 0.2] = NO_DOCUMENT
    return Catalog(
        near[0].astype(np.float32),
        near[1].astype(np.float32),
        [set(random.integers(documents, size=random.integers(0, 4)).tolist()) for _ in range(queries)],
        [random.integers(-1, 25, documents), np.where(random.random(documents) < 0.9, -1, 7)],
        np.where(random.random(queries) < 0.5, -1, random.integers(documents, size=queries)),
        Ranking(ranked, np.zeros(ranked.shape, np.float32)),
    )


@st.composite
def any_settings(draw: st.DrawFn) -> HardNegativeSettings:
    depth = draw(st.integers(1, 70))
    dense = draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    return HardNegativeSettings(
        negatives_per_query=draw(st.integers(1, 9)),
        dense_share=dense,
        lexical_share=draw(st.sampled_from([0.0, (1 - dense) / 2, 1 - dense])),
        candidate_depth=depth,
        skip_top=draw(st.integers(0, depth - 1)),
        max_score=draw(MARGIN),
        relative_margin=draw(MARGIN),
        absolute_margin=draw(MARGIN),
        index=draw(st.sampled_from([None, IndexSettings(), IndexSettings("hnsw", threads=1)])),
        seed=draw(st.integers(0, 3)),
    )


@settings(max_examples=100)
@given(st.integers(0, 10_000), any_settings(), st.integers(0, 3))
def test_no_negative_is_a_known_positive_the_query_itself_or_there_twice(
    seed: int, chosen: HardNegativeSettings, refresh: int
) -> None:
    catalog = random_catalog(seed)
    mined = catalog.mine(chosen, refresh)
    assert mined.indices.shape == mined.sources.shape == (8, chosen.negatives_per_query)
    for query, negatives in enumerate(mined.indices):
        assert not set(negatives.tolist()) & catalog.forbidden(query)
        assert len(set(negatives.tolist())) == chosen.negatives_per_query
        assert negatives.min() >= 0
        assert negatives.max() < 60
    assert sum(mined.counts.values()) == mined.indices.size
    assert sum(mined.shares.values()) == pytest.approx(1.0)


@settings(max_examples=100)
@given(st.integers(0, 10_000), any_settings())
def test_dense_and_lexical_negatives_keep_to_every_bound(seed: int, chosen: HardNegativeSettings) -> None:
    catalog = random_catalog(seed)
    mined, similarities = catalog.mine(chosen), catalog.similarities()
    for query, (negatives, sources) in enumerate(zip(mined.indices, mined.sources, strict=True)):
        own = [float(similarities[query, one]) for one in catalog.positives[query]]
        limits = [1.0 if chosen.max_score is None else chosen.max_score]
        if own and chosen.relative_margin is not None:
            limits.append(min(min(own) * chosen.relative_margin, min(own) * (2 - chosen.relative_margin)))
        if own and chosen.absolute_margin is not None:
            limits.append(min(own) - chosen.absolute_margin)
        order = np.argsort(-similarities[query], kind="stable")
        # Those before `skip_top` among the unlabelled, and those that are deeper than the ranking is read.
        unlabelled = [d for d in order.tolist() if d not in catalog.forbidden(query)]
        for document, source in zip(negatives.tolist(), sources.tolist(), strict=True):
            if SOURCES[source] == "random":
                continue
            assert similarities[query, document] <= min(limits) + 1e-5
            if SOURCES[source] == "lexical":
                assert document in catalog.lexical.indices[query, : chosen.candidate_depth]
            elif chosen.index is None or chosen.index.kind == "flat":
                assert document in order[: chosen.candidate_depth]
                assert unlabelled.index(document) >= chosen.skip_top


@settings(max_examples=50)
@given(st.integers(0, 10_000), any_settings())
def test_the_draws_depend_on_seed_and_refresh_alone(seed: int, chosen: HardNegativeSettings) -> None:
    catalog = random_catalog(seed)
    once, again = catalog.mine(chosen, 1), catalog.mine(chosen, 1)
    np.testing.assert_array_equal(once.indices, again.indices)
    np.testing.assert_array_equal(once.sources, again.sources)
    assert (once.filled, once.dropped) == (again.filled, again.dropped)


def test_another_refresh_and_another_seed_draw_others() -> None:
    catalog, chosen = random_catalog(0), HardNegativeSettings(5, relative_margin=None)
    first = catalog.mine(chosen).indices
    assert (first != catalog.mine(chosen, refresh=1).indices).any()
    assert (first != catalog.mine(dataclasses.replace(chosen, seed=1)).indices).any()


def test_faiss_and_the_streamed_search_mine_the_same() -> None:
    catalog, chosen = random_catalog(3), HardNegativeSettings(5, candidate_depth=20)
    np.testing.assert_array_equal(
        catalog.mine(chosen).indices, catalog.mine(dataclasses.replace(chosen, index=None)).indices
    )


# Query 0 is nearest to document 0, then 1, 2, ...; document 0 is its positive.
ANGLES = np.deg2rad(np.arange(0, 80, 2.0))
FAN = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)


def mine_fan(chosen: HardNegativeSettings, labelled: int = 0, **kwargs: Ranking) -> MinedNegatives:
    return mine_hard_negatives(FAN[:1], FAN, KnownPositives([[labelled]], len(FAN)), chosen, **kwargs)


def dense_only(**fields: float | None) -> HardNegativeSettings:
    return HardNegativeSettings(3, candidate_depth=8, **{"relative_margin": None, **fields})  # type: ignore[arg-type]


def test_each_bound_drops_what_it_says_and_counts_it() -> None:
    none = {"positive": 1, "skip_top": 0, "max_score": 0, "relative_margin": 0, "absolute_margin": 0}
    assert mine_fan(dense_only()).dropped == none
    assert mine_fan(dense_only(skip_top=4)).dropped == none | {"skip_top": 4}
    # cos 4° = 0.9976, cos 6° = 0.9945: documents 1 and 2 are above 0.995.
    assert mine_fan(dense_only(max_score=0.995)).dropped == none | {"max_score": 2}
    assert mine_fan(dense_only(relative_margin=0.995)).dropped == none | {"relative_margin": 2}
    assert mine_fan(dense_only(absolute_margin=0.005)).dropped == none | {"absolute_margin": 2}
    # With the positive at 10° and a cosine of 0.985, the bound is 0.980, and the cosine of document 6 is 0.978.
    assert mine_fan(dense_only(relative_margin=0.995), labelled=5).dropped == none | {"relative_margin": 5}
    both = mine_fan(dense_only(skip_top=1, max_score=0.995, absolute_margin=0.006))
    assert both.dropped == none | {"skip_top": 1, "max_score": 1, "absolute_margin": 1}


def test_what_is_missing_is_filled_at_random_and_counted() -> None:
    # Of 8 ranks, the positive and 5 skipped leave 2; none of the skipped comes back while there are others.
    mined = mine_fan(dense_only(skip_top=5))
    assert (mined.filled, mined.counts) == (1, {"dense": 2, "lexical": 0, "random": 1})
    assert set(mined.indices[0, :2].tolist()) == {6, 7}
    assert mined.indices[0, 2] > 7
    # None are left below a similarity of -1.
    assert mine_fan(dense_only(max_score=-1.0)).filled == 3


def test_a_near_document_comes_back_only_where_no_other_is_left() -> None:
    few = FAN[:5]
    known = KnownPositives([[0]], 5)
    chosen = HardNegativeSettings(4, candidate_depth=3, skip_top=1, relative_margin=None)
    mined = mine_hard_negatives(few[:1], few, known, chosen)
    assert mined.indices[0].tolist()[3] == 1  # skipped, and the last resort
    assert sorted(mined.indices[0].tolist()) == [1, 2, 3, 4]
    with pytest.raises(UserError, match=r"query 0 has 4 documents .*negatives_per_query \(5\)"):
        mine_hard_negatives(few[:1], few, known, dataclasses.replace(chosen, negatives_per_query=5))


def test_what_the_dense_ranking_skips_is_not_drawn_as_lexical() -> None:
    ranked = np.array([[30, 1, 2, 31, 32]])
    chosen = HardNegativeSettings(2, 0.5, 0.5, candidate_depth=8, skip_top=1, relative_margin=None)
    for refresh in range(20):
        lexical = Ranking(ranked, np.zeros(ranked.shape, np.float32))
        known = KnownPositives([[0]], len(FAN))
        mined = mine_hard_negatives(FAN[:1], FAN, known, chosen, lexical=lexical, refresh=refresh)
        assert mined.counts == {"dense": 1, "lexical": 1, "random": 0}
        assert mined.indices[0, 0] in range(2, 8)
        assert mined.indices[0, 1] in {2, 31, 32} - {mined.indices[0, 0]}


def test_the_sources_have_their_shares_in_expectation() -> None:
    catalog = random_catalog(5, queries=2000, documents=300, lexical_depth=100)
    chosen = HardNegativeSettings(1, 0.55, 0.25, candidate_depth=50, relative_margin=None)
    shares = catalog.mine(chosen).shares
    # 2,000 draws: 4 standard deviations are 0.045.
    assert shares == pytest.approx({"dense": 0.55, "lexical": 0.25, "random": 0.2}, abs=0.045)
    whole = catalog.mine(dataclasses.replace(chosen, negatives_per_query=20, candidate_depth=100))
    assert (whole.sources == [0] * 11 + [1] * 5 + [2] * 4).all()
    assert whole.filled == 0


def test_every_candidate_that_is_left_is_drawn_equally_often() -> None:
    chosen = HardNegativeSettings(2, candidate_depth=9, relative_margin=None)
    known = KnownPositives([[0]] * 4000, len(FAN))
    mined = mine_hard_negatives(np.repeat(FAN[:1], 4000, axis=0), FAN, known, chosen)
    # 8 candidates share 8,000 draws; 5 standard deviations are 138.
    counts = np.bincount(mined.indices.reshape(-1), minlength=9)
    assert counts[0] == 0
    np.testing.assert_allclose(counts[1:9], 1000, atol=138)


def test_input_that_does_not_fit_together_is_refused() -> None:
    known, chosen = KnownPositives([[0]], len(FAN)), HardNegativeSettings()
    lexical = Ranking(np.array([[1, 40]]), np.zeros((1, 2), np.float32))
    mixed = HardNegativeSettings(dense_share=0.5, lexical_share=0.5)
    with pytest.raises(UserError, match="not of one model"):
        mine_hard_negatives(FAN[:1, :1], FAN, known, chosen)
    with pytest.raises(UserError, match="positives of 1 queries among 40 documents; allowed: .* 2 and 40"):
        mine_hard_negatives(FAN[:2], FAN, known, chosen)
    with pytest.raises(UserError, match="lexical_share = 0.5 without lexical candidates"):
        mine_hard_negatives(FAN[:1], FAN, known, mixed)
    with pytest.raises(UserError, match="lexical_share = 0.0 with lexical candidates"):
        mine_hard_negatives(FAN[:1], FAN, known, chosen, lexical=lexical)
    with pytest.raises(UserError, match="lexical candidates up to 40; allowed: to 39"):
        mine_hard_negatives(FAN[:1], FAN, known, mixed, lexical=lexical)
    with pytest.raises(UserError, match="lexical candidates of 1 queries; allowed: of 2"):
        mine_hard_negatives(FAN[:2], FAN, KnownPositives([[0], [1]], 40), mixed, lexical=lexical)
