"""Layers, attention, the layer stack, encoder, encoder-decoder and decoder. Flax NNX is used here and nowhere else."""

from m5jax.models.decoder import Decoder, DecoderConfig
from m5jax.models.encoder import Encoder, EncoderConfig
from m5jax.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from m5jax.models.functional import FunctionalModel, Parameters
from m5jax.models.maximal_update import MaximalUpdate, is_matrix
from m5jax.models.rotary import LongContext

__all__ = [
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
