"""How hard negatives are mined.

What looks most alike is often a positive that nobody labelled. The bounds against such false negatives are those that
NV-Retriever (arXiv 2407.15831) compares: `skip_top` is its Top-k shifted by N, `max_score` TopK-Abs, `absolute_margin`
TopK-MarginPos, and `relative_margin` TopK-PercPos.
"""

import dataclasses

from m5jax.errors import check_least, wrong_field
from m5jax.retrieval.approximate import IndexSettings


@dataclasses.dataclass(frozen=True)
class HardNegativeSettings:
    """How many negatives, from where, and what is too near to be one.

    Similarities are cosines of embeddings, those of lexical candidates too. `s` is the similarity of the query's least
    similar labelled positive; a query without any is not bounded by it.

    Attributes:
        negatives_per_query: how many each query gets.
        dense_share: expected share drawn from the nearest documents. What is left of 1 is random.
        lexical_share: expected share drawn from the lexical candidates.
        candidate_depth: ranks of each ranking that are looked at, known positives among them.
        skip_top: how many of these ranks, not counting known positives, are skipped from the first on.
        max_score: similarity above which a candidate is dropped; None for no such bound.
        relative_margin: drops above s - (1 - relative_margin) |s|, a share of s where s is positive; None for no bound.
        absolute_margin: drops above s - absolute_margin; None for no such bound.
        index: the FAISS index of the dense candidates; None for the streamed exact search, which needs no FAISS.
        seed: of the draws.
    """

    negatives_per_query: int = 7
    dense_share: float = 1.0
    lexical_share: float = 0.0
    candidate_depth: int = 100
    skip_top: int = 0
    max_score: float | None = None
    relative_margin: float | None = 0.95
    absolute_margin: float | None = None
    index: IndexSettings | None = IndexSettings()
    seed: int = 0

    def __post_init__(self) -> None:
        check_least(self, negatives_per_query=1, candidate_depth=1, seed=0)
        for name in ("dense_share", "lexical_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise wrong_field(self, name, "0 to 1")
        if self.dense_share + self.lexical_share > 1.0:
            raise wrong_field(self, "dense_share", f"1 at most with lexical_share ({self.lexical_share})")
        if not 0 <= self.skip_top < self.candidate_depth:
            raise wrong_field(self, "skip_top", f"0 to below candidate_depth ({self.candidate_depth})")
        for name, (low, high) in {"max_score": (-1, 1), "relative_margin": (0, 1), "absolute_margin": (0, 2)}.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise wrong_field(self, name, f"{low} to {high}, or None")
