"""Encoders, encoder-decoders, decoders, token ids and packed rows small enough for a test."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from m5jax.models import DecoderConfig, EncoderConfig, EncoderDecoderConfig, FunctionalModel, Parameters

VOCAB = 40
# What every model takes in the same way; norms, activations and groups are others than its own in each test.
OPTIONS = {"query_key_norm": True, "global_every": 2, "local_window": 5, "local_rotary_theta": 50.0}


def encoder_config(**changes: Any) -> EncoderConfig:
    settings = {"vocab_size": VOCAB, "width": 16, "layers": 3, "heads": 2, "mlp_hidden": 24, "max_length": 64}
    return EncoderConfig(**(settings | changes))


def encoder_decoder_config(**changes: Any) -> EncoderDecoderConfig:
    settings = {"vocab_size": VOCAB, "width": 16, "encoder_layers": 3, "decoder_layers": 2, "heads": 2, "head_dim": 6}
    settings |= {"mlp_hidden": 24, "relative_buckets": 8, "relative_max_distance": 12}
    return EncoderDecoderConfig(**(settings | changes))


def decoder_config(**changes: Any) -> DecoderConfig:
    settings = {"vocab_size": VOCAB, "width": 16, "layers": 3, "heads": 4, "kv_heads": 2, "head_dim": 6}
    settings |= {"mlp_hidden": 24, "max_length": 64}
    return DecoderConfig(**(settings | changes))


def encoder(**changes: Any) -> tuple[FunctionalModel, Parameters]:
    """Returns a float32 encoder and its parameters, norm scales away from one."""
    return _drawn(encoder_config(**changes))


def encoder_decoder(**changes: Any) -> tuple[FunctionalModel, Parameters]:
    """Returns a float32 encoder-decoder and its parameters, norm scales away from one."""
    return _drawn(encoder_decoder_config(**changes))


def decoder(**changes: Any) -> tuple[FunctionalModel, Parameters]:
    """Returns a float32 decoder and its parameters, norm scales away from one."""
    return _drawn(decoder_config(**changes))


def _drawn(config: Any) -> tuple[FunctionalModel, Parameters]:
    model = FunctionalModel.from_config(config)
    parameters = jax.jit(model.init)(jax.random.key(0))
    random = np.random.default_rng(0)

    def perturb(leaf: jax.Array, axes: tuple[str, ...]) -> jax.Array:
        is_scale = axes[-1] == "embed" or axes[1:] == ("head_dim",)
        return leaf * random.uniform(0.5, 1.5, leaf.shape).astype(np.float32) if is_scale else leaf

    return model, jax.tree.map(perturb, parameters, model.logical_axes)


def segments_of(lengths: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    """Returns token ids of one segment a length."""
    random = np.random.default_rng(seed)
    return [random.integers(4, VOCAB, length, dtype=np.int32) for length in lengths]


def row_of(segments: Sequence[np.ndarray], length: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns inputs, segment ids and positions, each [1, length], of segments packed into one row."""
    inputs, segment_ids, positions = (np.zeros((1, length), np.int32) for _ in range(3))
    start = 0
    for number, tokens in enumerate(segments, start=1):
        here = slice(start, start + len(tokens))
        inputs[0, here], segment_ids[0, here], positions[0, here] = tokens, number, np.arange(len(tokens))
        start += len(tokens)
    return jnp.asarray(inputs), jnp.asarray(segment_ids), jnp.asarray(positions)
