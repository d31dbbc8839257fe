"""How a batch becomes a loss."""

from m5jax.objectives.language_model import LanguageModel
from m5jax.objectives.objective import Batch, Objective, Sums
from m5jax.objectives.sequence_to_sequence import SequenceToSequence

__all__ = ["Batch", "LanguageModel", "Objective", "SequenceToSequence", "Sums"]
