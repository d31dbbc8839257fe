"""How a batch becomes a loss."""

from m5jax.objectives.classification import Classification, Regression, YesOrNo
from m5jax.objectives.language_model import LanguageModel
from m5jax.objectives.objective import Batch, Objective, Sums
from m5jax.objectives.pair_losses import (
    InBatchContrastive,
    PairCrossEntropy,
    SupervisedContrastive,
    ThreePartHinge,
    TripletMargin,
)
from m5jax.objectives.pair_objective import PairObjective
from m5jax.objectives.sequence_to_sequence import SequenceToSequence

__all__ = [
    "Batch",
    "Classification",
    "InBatchContrastive",
    "LanguageModel",
    "Objective",
    "PairCrossEntropy",
    "PairObjective",
    "Regression",
    "SequenceToSequence",
    "Sums",
    "SupervisedContrastive",
    "ThreePartHinge",
    "TripletMargin",
    "YesOrNo",
]
