"""Self-attention over packed sequences, bidirectional or with a bidirectional prefix, with rotary positions.

Semantics used everywhere: `segment_ids` [batch, length] number the packed examples of a row from 1, 0 is padding; a
token attends to tokens of its own segment only. `positions` [batch, length] count from 0 within each segment.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Int

from m5jax.models.layers import linear, normal_parameter
from partitioning import constrain

Rotation = tuple[Float[Array, "batch length half"], Float[Array, "batch length half"]]


def rotary_angles(positions: Int[Array, "batch length"], head_dim: int, theta: float) -> Rotation:
    """Returns cosines and sines of the rotary embedding (arXiv 2104.09864, section 3.4), float32."""
    frequencies = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    angles = positions[..., None].astype(jnp.float32) * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def rotate(
    x: Float[Array, "batch length heads head_dim"], rotation: Rotation
) -> Float[Array, "batch length heads head_dim"]:
    """Rotates the pairs (i, i + head_dim/2), the order Hugging Face models store."""
    cosine, sine = (angle[:, :, None, :].astype(x.dtype) for angle in rotation)
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)


def attention_mask(
    segment_ids: Int[Array, "batch length"],
    positions: Int[Array, "batch length"],
    bidirectional: Int[Array, "batch length"] | None = None,
) -> Bool[Array, "batch 1 length length"]:
    """Returns which key each query may attend to: those of its own segment that are `bidirectional` or not after it.

    Without `bidirectional` all tokens are.
    """
    same_segment = segment_ids[:, :, None] == segment_ids[:, None, :]
    if bidirectional is None:
        return same_segment[:, None]
    visible = (bidirectional[:, None, :] > 0) | (positions[:, :, None] >= positions[:, None, :])
    return (same_segment & visible)[:, None]


def dot_product_attention(
    query: Float[Array, "batch length heads head_dim"],
    key: Float[Array, "batch keys heads head_dim"],
    value: Float[Array, "batch keys heads head_dim"],
    mask: Bool[Array, "batch 1 length keys"],
    scale: float | None = None,
    bias: Float[Array, "#batch heads length keys"] | None = None,
) -> Float[Array, "batch length heads head_dim"]:
    """Softmax attention (arXiv 1706.03762, equation 1); scores and softmax in float32.

    Scores are products times `scale` (None: 1 / sqrt(head_dim)), plus `bias`.
    """
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, preferred_element_type=jnp.float32)
    if scale is None:
        scores = scores / math.sqrt(query.shape[-1])
    elif scale != 1.0:
        scores = scores * scale
    if bias is not None:
        scores = scores + bias
    scores = jnp.where(mask, scores, jnp.finfo(jnp.float32).min)
    probabilities = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    return jnp.einsum("bhqk,bkhd->bqhd", probabilities, value)


class SelfAttention(nnx.Module):
    """Multi-head self-attention without biases."""

    def __init__(self, width: int, heads: int, output_stddev: float, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.dtype = dtype
        shape, axes = (width, heads, width // heads), ("embed", "heads", "head_dim")
        self.query = normal_parameter(rngs, shape, axes, width**-0.5)
        self.key = normal_parameter(rngs, shape, axes, width**-0.5)
        self.value = normal_parameter(rngs, shape, axes, width**-0.5)
        self.output = normal_parameter(
            rngs, (heads, width // heads, width), ("heads", "head_dim", "embed"), output_stddev
        )

    def __call__(
        self, x: Float[Array, "batch length embed"], rotation: Rotation, mask: Bool[Array, "batch 1 length length"]
    ) -> Float[Array, "batch length embed"]:
        query, key, value = (
            constrain(linear(x, kernel[...], self.dtype), "batch", "length", "heads", "head_dim")
            for kernel in (self.query, self.key, self.value)
        )
        attended = dot_product_attention(rotate(query, rotation), rotate(key, rotation), value, mask)
        return checkpoint_name(linear(attended, self.output[...], self.dtype, contracted=2), "attention_output")
