"""Layers, attention, the layer stack and the encoder. Flax NNX is used here and nowhere else."""

from m5jax.models.encoder import Encoder, EncoderConfig
from m5jax.models.functional import FunctionalModel, Parameters

__all__ = ["Encoder", "EncoderConfig", "FunctionalModel", "Parameters"]
