import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.retrieval.known_positives import NO_GROUP, KnownPositives

DOCUMENTS = 12
INDICES = st.sets(st.integers(0, DOCUMENTS - 1), max_size=4)
GROUPING = st.lists(st.integers(NO_GROUP, 3), min_size=DOCUMENTS, max_size=DOCUMENTS)


@given(INDICES, st.lists(GROUPING, max_size=2), st.integers(-1, DOCUMENTS - 1))
def test_the_own_the_labelled_and_those_of_their_groups_are_known(
    labelled: set[int], groupings: list[list[int]], anchor: int
) -> None:
    known = KnownPositives([set(), labelled], DOCUMENTS, [np.array(g) for g in groupings], np.array([-1, anchor]))
    own = labelled | ({anchor} - {-1})
    wanted = [
        candidate in own
        or any(grouping[candidate] == grouping[one] != NO_GROUP for grouping in groupings for one in own)
        for candidate in range(DOCUMENTS)
    ]
    assert known.among(1, np.arange(DOCUMENTS)).tolist() == wanted
    assert not known.among(0, np.arange(DOCUMENTS)).any()


def test_without_groups_and_anchors_only_the_labelled_are_known() -> None:
    known = KnownPositives([[3, 1]], 5)
    assert known.among(0, np.array([0, 1, 3, 3])).tolist() == [False, True, True, True]
    assert known.labelled[0].tolist() == [1, 3]
    assert (len(known), known.documents) == (1, 5)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(UserError, match="query 1 has positives 2 to 5; allowed: 0 to 4"):
        KnownPositives([[0], [5, 2]], 5)
    with pytest.raises(UserError, match="query 0 has positives -1 to 2"):
        KnownPositives([[2, -1]], 5)
    with pytest.raises(UserError, match=r"groups are \[4\]; allowed: \[5\]"):
        KnownPositives([[0]], 5, [np.zeros(4, int)])
    with pytest.raises(UserError, match=r"anchors are \[2\]; allowed: \[1\]"):
        KnownPositives([[0]], 5, anchors=np.zeros(2, int))
    with pytest.raises(UserError, match="anchors are 5 to 5; allowed: -1 to 4"):
        KnownPositives([[0]], 5, anchors=np.array([5]))
