"""How often each language or task is sampled: p_i proportional to n_i**alpha.

alpha = 1 samples in proportion to the data, alpha = 0 every language alike; values between lift small languages
(Conneau and Lample, arXiv 1901.07291, section 3.1; mT5, arXiv 2010.11934, section 3.2 uses 0.3). Vocabulary training
and model training use the same rule; their default exponents differ (0.3 for the vocabulary, 0.5 for the steps), since
every language needs pieces before it can have steps.
"""

import math
from collections.abc import Mapping

from m5jax.errors import UserError

DEFAULT_ALPHA = 0.5


def mixing_rates(counts: Mapping[str, int], alpha: float = DEFAULT_ALPHA) -> dict[str, float]:
    """Returns p_i = n_i**alpha / sum_j n_j**alpha for each name, in the order of `counts`; the rates sum to 1.

    Raises:
        UserError: alpha is negative or not finite, `counts` is empty, or a name has no examples.
    """
    if not (math.isfinite(alpha) and alpha >= 0.0):
        raise UserError(f"the mixing exponent alpha is {alpha}, allowed: a number from 0 (uniform) up")
    empty = [name for name, count in counts.items() if count <= 0]
    if empty or not counts:
        raise UserError(f"nothing to sample from: {', '.join(empty) or 'an empty mixture'} has no examples")
    largest = max(counts.values())
    # Relative to the largest count, so that no power overflows.
    powers = {name: (count / largest) ** alpha for name, count in counts.items()}
    total = math.fsum(powers.values())
    return {name: power / total for name, power in powers.items()}
