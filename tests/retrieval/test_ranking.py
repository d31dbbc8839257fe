import numpy as np
import pytest

from m5jax.errors import UserError
from m5jax.retrieval.ranking import NO_DOCUMENT, Ranking, empty_ranking, recall


def ranking(indices: list[list[int]], scores: list[list[float]]) -> Ranking:
    return Ranking(np.array(indices, np.int64), np.array(scores, np.float32))


def test_recall_is_the_share_of_the_exact_documents_that_were_found() -> None:
    exact = ranking([[4, 2, 7], [1, 0, 3]], [[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]])
    assert recall(exact, exact) == 1.0
    found = ranking([[4, 7, 9], [1, 5, 6]], [[0.9, 0.7, 0.1], [0.6, 0.3, 0.2]])
    assert recall(found, exact) == pytest.approx(3 / 6)


def test_a_document_that_ties_with_the_last_exact_one_counts_as_found() -> None:
    exact = ranking([[4, 2]], [[0.9, 0.8]])
    assert recall(ranking([[4, 8]], [[0.9, 0.8 + 1e-7]]), exact) == 1.0
    assert recall(ranking([[4, 8]], [[0.9, 0.8 - 1e-4]]), exact) == 0.5


def test_ranks_without_a_document_are_not_counted() -> None:
    exact = ranking([[4, NO_DOCUMENT], [NO_DOCUMENT, NO_DOCUMENT]], [[-0.5, -np.inf], [-np.inf, -np.inf]])
    assert recall(exact, exact) == 1.0
    assert recall(empty_ranking(2, 2), exact) == 0.0
    assert np.isnan(recall(exact, empty_ranking(2, 2)))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(UserError, match=r"indices \[1, 2\] and scores \[1, 3\]"):
        ranking([[1, 2]], [[0.1, 0.2, 0.3]])
    with pytest.raises(UserError, match=r"\[2, 3\] and \[2, 4\]"):
        recall(empty_ranking(2, 3), empty_ranking(2, 4))
    with pytest.raises(UserError, match="allowed: 1 and above"):
        empty_ranking(2, 0)
