"""Which documents may not be a negative of a query."""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Bool, Int

from m5jax.errors import UserError

NO_GROUP = -1


class KnownPositives:
    """The labelled positives of each query, the query's own document, and the documents of the same groups as these."""

    def __init__(
        self,
        positives: Sequence[Collection[int]],
        documents: int,
        groups: Sequence[Int[np.ndarray, " documents"]] = (),
        anchors: Int[np.ndarray, " queries"] | None = None,
    ) -> None:
        """Keeps what is given.

        Args:
            positives: for each query, the indices of its documents.
            documents: how many there are.
            groups: groupings, such as one by id and one by label: for each document the number of its group,
                `NO_GROUP` where it is in none. Documents that share a group of one grouping are positives together.
            anchors: for each query, which document it is itself; -1 where it is none.

        Raises:
            UserError: an index is not that of a document, or there are not as many as said.
        """
        self.labelled = [np.array(sorted(own), np.int64) for own in positives]
        for query, own in enumerate(self.labelled):
            if len(own) and (own[0] < 0 or own[-1] >= documents):
                raise UserError(
                    f"query {query:,} has positives {own[0]} to {own[-1]}; allowed: 0 to {documents - 1}, the documents"
                )
        for grouping in groups:
            if np.shape(grouping) != (documents,):
                raise UserError(f"groups are {list(np.shape(grouping))}; allowed: [{documents}], one for each document")
        if anchors is None:
            anchors = np.full(len(self.labelled), -1)
        if np.shape(anchors) != (len(self.labelled),):
            raise UserError(
                f"anchors are {list(np.shape(anchors))}; allowed: [{len(self.labelled)}], one for each query"
            )
        if len(anchors) and not (anchors.min() >= -1 and anchors.max() < documents):
            raise UserError(f"anchors are {anchors.min()} to {anchors.max()}; allowed: -1 to {documents - 1}")
        self.documents = documents
        self._groups = groups
        self._anchors = anchors

    def __len__(self) -> int:
        return len(self.labelled)

    def among(self, query: int, candidates: Int[np.ndarray, " candidates"]) -> Bool[np.ndarray, " candidates"]:
        """Returns which of `candidates` are known positives of `query`, or the query itself."""
        own = np.append(self.labelled[query], self._anchors[query])
        own = own[own >= 0]
        known = np.isin(candidates, own)
        for grouping in self._groups:
            shared = grouping[own]
            known |= np.isin(grouping[candidates], shared[shared != NO_GROUP])
        return known
