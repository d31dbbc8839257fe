"""Layers, attention, the layer stack, the encoder and the encoder-decoder. Flax NNX is used here and nowhere else."""

from m5jax.models.encoder import Encoder, EncoderConfig
from m5jax.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from m5jax.models.functional import FunctionalModel, Parameters

__all__ = ["Encoder", "EncoderConfig", "EncoderDecoder", "EncoderDecoderConfig", "FunctionalModel", "Parameters"]
