"""Hard negatives of a two-tower fine-tuning, mined again and again with the model as it is."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

from m5jax.data.serialize import plain_text
from m5jax.finetuning.batches import ShuffledBatches
from m5jax.finetuning.rows import PairRows
from m5jax.finetuning.scoring import Scorer
from m5jax.models import Parameters
from m5jax.retrieval.bm25 import BM25
from m5jax.retrieval.hard_negative_settings import HardNegativeSettings
from m5jax.retrieval.hard_negatives import mine_hard_negatives
from m5jax.retrieval.known_positives import KnownPositives
from m5jax.retrieval.ranking import Ranking


class Miner:
    """Gives the examples of batches negatives that the model, or shared words, take for what fits.

    Args:
        batches: whose examples get them.
        lefts, rights: texts of the sides that there are, as `PairRows` numbers them.
        scorer: of the model.
        settings: how many, and from where.
    """

    def __init__(
        self,
        batches: ShuffledBatches,
        lefts: Sequence[str],
        rights: Sequence[str],
        scorer: Scorer,
        settings: HardNegativeSettings,
    ) -> None:
        assert isinstance(batches.rows, PairRows)
        self._batches, self._scorer, self._settings = batches, scorer, settings
        self._known = known_positives(batches.rows)
        self._lexical: Ranking | None = None
        if settings.lexical_share:
            queries, documents = ([plain_text(text) for text in side] for side in (lefts, rights))
            self._lexical = BM25(documents).search(queries, settings.candidate_depth)

    def refresh(self, number: int, parameters: Parameters) -> dict[str, float]:
        """Mines for the `number`-th time, and returns the share of each source and what each bound dropped.

        The first of several processes mines for all, and has the figures: an index that several threads build may
        differ each time.
        """
        rows = self._batches.rows
        assert isinstance(rows, PairRows)
        left = self._scorer.searchable(parameters, self._scorer.embed(parameters, rows.left))
        right = self._scorer.embed(parameters, rows.right, right=True)
        indices, figures = np.zeros((len(left), self._settings.negatives_per_query), np.int32), {}
        if jax.process_index() == 0:
            mined = mine_hard_negatives(left, right, self._known, self._settings, lexical=self._lexical, refresh=number)
            indices = mined.indices.astype(np.int32)
            figures = {f"negatives/{name}": float(share) for name, share in mined.shares.items()}
            figures |= {f"negatives/dropped_{name}": float(count) for name, count in mined.dropped.items()}
        if jax.process_count() > 1:
            indices = multihost_utils.broadcast_one_to_all(indices)
        self._batches.replace_negatives(np.asarray(indices, np.int64)[rows.pairs[:, 0]])
        return figures


def known_positives(rows: PairRows) -> KnownPositives:
    """Returns which right sides fit each left one: those of its pairs, and of pairs of left sides of its group; with
    them all of their groups, and the text itself."""
    of_group: dict[int, set[int]] = {}
    for (left, right), fit in zip(rows.pairs, rows.fits, strict=True):
        if fit:
            of_group.setdefault(int(rows.left_groups[left]), set()).add(int(right))
    positives = [of_group.get(int(group), set()) for group in rows.left_groups]
    # Equal texts have equal groups, on either side.
    first = {int(group): place for place, group in reversed(list(enumerate(rows.right_groups)))}
    anchors = np.array([first.get(int(group), -1) for group in rows.left_groups], np.int64)
    groups = np.unique(rows.right_groups, return_inverse=True)[1].astype(np.int64)
    return KnownPositives(positives, len(rows.right_groups), (groups,), anchors)
