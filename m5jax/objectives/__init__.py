"""How a batch becomes a loss."""

from m5jax.objectives.masked_lm import MaskedLanguageModel
from m5jax.objectives.objective import Batch, Objective, Sums

__all__ = ["Batch", "MaskedLanguageModel", "Objective", "Sums"]
