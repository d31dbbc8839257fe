"""Layers, attention, the layer stack, encoder, encoder-decoder and decoder. Flax NNX is used here and nowhere else."""

from m5jax.models.classifier import Classifier, ClassifierConfig
from m5jax.models.decoder import Decoder, DecoderConfig
from m5jax.models.encoder import Encoder, EncoderConfig
from m5jax.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from m5jax.models.functional import FunctionalModel, Parameters
from m5jax.models.low_rank import LowRankAdapters
from m5jax.models.maximal_update import MaximalUpdate, is_matrix
from m5jax.models.ngram_encoder import NgramEncoderConfig
from m5jax.models.rotary import LongContext
from m5jax.models.settings import ModelSettings
from m5jax.models.two_tower import TwoTower, TwoTowerConfig

__all__ = [
    "Classifier",
    "ClassifierConfig",
    "LowRankAdapters",
    "ModelSettings",
    "NgramEncoderConfig",
    "TwoTower",
    "TwoTowerConfig",
    "Decoder",
    "DecoderConfig",
    "Encoder",
    "EncoderConfig",
    "EncoderDecoder",
    "EncoderDecoderConfig",
    "FunctionalModel",
    "LongContext",
    "MaximalUpdate",
    "Parameters",
    "is_matrix",
]
