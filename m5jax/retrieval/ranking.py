"""Documents in the order of their scores: what every search here returns."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from m5jax.errors import UserError

NO_DOCUMENT = -1
# Share of a score within which two searches of the same document may differ: they add up in different orders.
_ROUNDING = 1e-5


@dataclasses.dataclass(frozen=True)
class Ranking:
    """The best documents of each query, best first; of equal scores, the document that comes first.

    Attributes:
        indices: int64 [queries, k], which document; `NO_DOCUMENT` where there are fewer.
        scores: float32 [queries, k]; -inf where there are fewer.
    """

    indices: Int[np.ndarray, "queries k"]
    scores: Float[np.ndarray, "queries k"]

    def __post_init__(self) -> None:
        if self.indices.ndim != 2 or self.indices.shape != self.scores.shape:
            raise UserError(
                f"a ranking has indices {list(self.indices.shape)} and scores {list(self.scores.shape)}; allowed: "
                "[queries, k] both"
            )


def check_k(k: int) -> None:
    """Raises UserError where no `k` best can be asked for."""
    if k < 1:
        raise UserError(f"the {k} best are asked for; allowed: 1 and above")


def empty_ranking(queries: int, k: int) -> Ranking:
    """Returns a ranking without documents."""
    check_k(k)
    return Ranking(np.full((queries, k), NO_DOCUMENT, np.int64), np.full((queries, k), -np.inf, np.float32))


def recall(found: Ranking, exact: Ranking) -> float:
    """Returns the share of the exact best documents that were found, 0 to 1; NaN where there are none.

    A document that ties with the last of the exact ones counts as found, as ANN-Benchmarks (arXiv 1807.05614, section
    2.1) counts: of equal documents none is the right one.

    Raises:
        UserError: the rankings are of other queries or of another k.
    """
    if found.indices.shape != exact.indices.shape:
        raise UserError(f"rankings of shapes {list(found.indices.shape)} and {list(exact.indices.shape)}; allowed: one")
    there = exact.indices != NO_DOCUMENT
    last = np.where(there, exact.scores, np.inf).min(axis=1, initial=np.inf, keepdims=True)
    with np.errstate(invalid="ignore"):  # inf - inf where a query has no document at all
        near = last - _ROUNDING * np.abs(last)
    hits = (found.indices != NO_DOCUMENT) & (found.scores >= near)
    return float(hits.sum() / there.sum()) if there.any() else float("nan")
