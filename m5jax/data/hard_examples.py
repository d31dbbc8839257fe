"""From the losses of records to how often each is sampled."""

import dataclasses
import math

import numpy as np

from m5jax.errors import UserError, check_below_one

_LEAST_POWER = 1e-100


@dataclasses.dataclass(frozen=True)
class HardExamples:
    """Leaves out the easiest records and samples the others by their loss.

    Which end to cut depends on the data. Sorscher et al. (arXiv 2206.14486) keep hard examples where there are many and
    easy ones where there are few. Mindermann et al. (RHO-LOSS, arXiv 2206.07137) show that the highest losses are often
    noise that cannot be learned; `drop_hardest` cuts it, as CCNet (arXiv 1911.00359, section 5) cuts texts by
    perplexity.

    Of the records that are kept, one with loss l has the weight c * l**exponent, at most `max_weight`, with c such that
    their mean weight is 1: as many are sampled in an epoch as are kept. A record without a loss is kept with weight 1.

    Attributes:
        drop_easiest: share of the records with the lowest losses that is left out. Records of equal loss go together,
            so that it may be more.
        exponent: 0 samples all kept records alike.
        max_weight: the most often that a record is sampled in an epoch, in expectation.
        drop_hardest: alike, of the highest losses.
    """

    drop_easiest: float = 0.2
    exponent: float = 1.0
    max_weight: float = 4.0
    drop_hardest: float = 0.0

    def __post_init__(self) -> None:
        check_below_one(self, "drop_easiest", "drop_hardest")
        if self.drop_easiest + self.drop_hardest >= 1.0:
            raise UserError(
                f"HardExamples.drop_easiest = {self.drop_easiest} and drop_hardest = {self.drop_hardest} leave "
                "nothing; allowed: less than 1 together"
            )
        if not (math.isfinite(self.exponent) and self.exponent >= 0.0):
            raise UserError(f"HardExamples.exponent = {self.exponent}; allowed: 0 and above")
        if not (math.isfinite(self.max_weight) and self.max_weight >= 1.0):
            raise UserError(f"HardExamples.max_weight = {self.max_weight}; allowed: 1 and above")

    def weights(self, losses: np.ndarray) -> np.ndarray:
        """Returns float64 [records]: how often each is sampled in an epoch, in expectation; 0 where it is left out.

        Args:
            losses: float [records], 0 or above, NaN where there is none.

        Raises:
            UserError: nothing is kept, since too many losses are equal.
        """
        weights = np.ones(len(losses))
        (scored,) = np.nonzero(~np.isnan(losses))
        own = np.asarray(losses, np.float64)[scored]
        ascending = np.sort(own)
        lower = np.searchsorted(ascending, own, side="left")
        higher = len(own) - np.searchsorted(ascending, own, side="right")
        kept = (lower >= _count(self.drop_easiest, own)) & (higher >= _count(self.drop_hardest, own))
        if len(own) and not kept.any():
            raise UserError(f"{self} keeps none of {len(own):,} records: too many have the same loss")
        weights[scored] = 0.0
        weights[scored[kept]] = self._scaled(own[kept])
        return weights

    def _scaled(self, losses: np.ndarray) -> np.ndarray:
        """Returns min(c * losses**exponent, max_weight) with mean 1."""
        if not len(losses):
            return losses
        largest = losses.max()
        # Relative to the largest, so that no power overflows.
        powers = (losses / largest) ** self.exponent if largest > 0 else np.ones_like(losses)
        # Nor is 0, so that there is a c where few records have a loss above 0.
        powers = np.maximum(powers, _LEAST_POWER)
        descending = np.sort(powers)[::-1]
        # With the k largest at the most, c follows from the mean; k is the first for which no other is above it.
        capped = np.arange(len(powers))
        rest = np.cumsum(descending[::-1])[::-1]
        factors = (len(powers) - capped * self.max_weight) / rest
        fits = factors * descending <= self.max_weight * (1 + 1e-12)
        return np.minimum(factors[np.argmax(fits)] * powers, self.max_weight)


def _count(share: float, values: np.ndarray) -> int:
    # A share that is a whole number of records is that number, whatever its last bit.
    return math.ceil(share * len(values) - 1e-9)
