"""Attention over packed sequences: to all of a segment, to a prefix and what came before, or to another sequence.

Semantics used everywhere: `segment_ids` [batch, length] number the packed examples of a row from 1, 0 is padding; a
token attends to tokens of its own segment only. `positions` [batch, length] count from 0 within each segment.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.extend.backend import get_backend
from jaxtyping import Array, Bool, Float, Int

from m5jax.models.layers import RmsNorm, linear, normal_parameter
from m5jax.models.rotary import Rotation, rotate
from partitioning import constrain


def same_segment(
    segment_ids: Int[Array, "batch length"], other: Int[Array, "batch keys"]
) -> Bool[Array, "batch 1 length keys"]:
    """Returns which tokens belong to the same packed example."""
    return (segment_ids[:, :, None] == other[:, None, :])[:, None]


def attention_mask(
    segment_ids: Int[Array, "batch length"],
    positions: Int[Array, "batch length"],
    bidirectional: Int[Array, "batch length"] | None = None,
) -> Bool[Array, "batch 1 length length"]:
    """Returns which key each query may attend to: those of its own segment that are `bidirectional` or not after it.

    Without `bidirectional` all tokens are.
    """
    mask = same_segment(segment_ids, segment_ids)
    if bidirectional is None:
        return mask
    visible = (bidirectional[:, None, :] > 0) | (positions[:, :, None] >= positions[:, None, :])
    return mask & visible[:, None]


def dot_product_attention(
    query: Float[Array, "batch length heads head_dim"],
    key: Float[Array, "batch keys kv_heads head_dim"],
    value: Float[Array, "batch keys kv_heads head_dim"],
    mask: Bool[Array, "batch 1 length keys"],
    scale: float,
    bias: Float[Array, "#batch heads length keys"] | None = None,
) -> Float[Array, "batch length heads head_dim"]:
    """Softmax attention (arXiv 1706.03762, equation 1); scores and softmax in float32.

    Consecutive query heads share a key and value head where there are fewer of these (arXiv 2305.13245). Scores are
    products times `scale`, plus `bias`. On NVIDIA GPUs by cuDNN, which does not hold the scores, where it can.
    """
    if bias is None and on_cuda() and cudnn_takes(query, key):
        return jax.nn.dot_product_attention(query, key, value, mask=mask, scale=scale, implementation="cudnn")
    batch, length, heads, head_dim = query.shape
    kv_heads = key.shape[2]
    grouped = query.reshape(batch, length, kv_heads, heads // kv_heads, head_dim)
    scores = jnp.einsum("bqhgd,bkhd->bhgqk", grouped, key, preferred_element_type=jnp.float32)
    scores = scores.reshape(batch, heads, length, -1)
    if scale != 1.0:
        scores = scores * scale
    if bias is not None:
        scores = scores + bias
    scores = jnp.where(mask, scores, jnp.finfo(jnp.float32).min)
    probabilities = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    probabilities = probabilities.reshape(batch, kv_heads, heads // kv_heads, length, -1)
    return jnp.einsum("bhgqk,bkhd->bqhgd", probabilities, value).reshape(query.shape)


def on_cuda() -> bool:
    """Returns whether products run on NVIDIA GPUs unless said."""
    return "cuda" in get_backend().platform_version.lower()


def cudnn_takes(
    query: Float[Array, "batch length heads head_dim"], key: Float[Array, "batch keys kv_heads head_dim"]
) -> bool:
    """Returns whether cuDNN has attention of these shapes and types, on every GPU (`jax.nn.dot_product_attention`).

    It gives learned biases of a row each no gradient, and says nothing, so that these are not for it.
    """
    is_half = query.dtype in (jnp.bfloat16, jnp.float16)
    return is_half and query.shape[3] <= 128 and not query.shape[3] % 8 and not query.shape[1] % 2 | key.shape[1] % 2


class Attention(nnx.Module):
    """Multi-head attention without biases, of `x` to a context: itself or another sequence.

    Args:
      width: of `x`, of the context and of what comes out.
      heads: of queries; `kv_heads` of keys and values divide them.
      head_dim: size of a head.
      dtype: of the products.
      rngs: draws the kernels.
      query_stddev, output_stddev: of the initial kernels.
      scale: of the scores.
      norm_epsilon: of a norm of each query and key head; None: there is none.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        head_dim: int,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        *,
        kv_heads: int,
        query_stddev: float,
        output_stddev: float,
        scale: float,
        norm_epsilon: float | None,
    ):
        self.dtype, self.scale = dtype, scale
        shape, axes = (width, kv_heads, head_dim), ("embed", "kv_heads", "head_dim")
        self.query = normal_parameter(rngs, (width, heads, head_dim), ("embed", "heads", "head_dim"), query_stddev)
        self.key = normal_parameter(rngs, shape, axes, width**-0.5)
        self.value = normal_parameter(rngs, shape, axes, width**-0.5)
        self.output = normal_parameter(rngs, (heads, head_dim, width), ("heads", "head_dim", "embed"), output_stddev)
        self.normalized = norm_epsilon is not None
        if norm_epsilon is not None:
            self.query_norm, self.key_norm = (RmsNorm(head_dim, norm_epsilon, "head_dim") for _ in range(2))

    def __call__(
        self,
        x: Float[Array, "batch length embed"],
        context: Float[Array, "batch keys embed"],
        mask: Bool[Array, "batch 1 length keys"],
        *,
        bias: Float[Array, "#batch heads length keys"] | None = None,
        rotation: Rotation | None = None,
    ) -> Float[Array, "batch length embed"]:
        """Returns the attention of `x` to `context`; `rotation` is of both, whose positions are then the same."""
        return self.attend(x, *self.keys_and_values(context, rotation), mask, bias=bias, rotation=rotation)

    def keys_and_values(
        self, context: Float[Array, "batch keys embed"], rotation: Rotation | None = None
    ) -> tuple[Float[Array, "batch keys kv_heads head_dim"], Float[Array, "batch keys kv_heads head_dim"]]:
        """Returns what `attend` attends to."""
        key = constrain(linear(context, self.key[...], self.dtype), "batch", "length", "kv_heads", "head_dim")
        value = constrain(linear(context, self.value[...], self.dtype), "batch", "length", "kv_heads", "head_dim")
        if self.normalized:
            key = self.key_norm(key)
        return (key if rotation is None else rotate(key, rotation)), value

    def attend(
        self,
        x: Float[Array, "batch length embed"],
        key: Float[Array, "batch keys kv_heads head_dim"],
        value: Float[Array, "batch keys kv_heads head_dim"],
        mask: Bool[Array, "batch 1 length keys"],
        *,
        bias: Float[Array, "#batch heads length keys"] | None = None,
        rotation: Rotation | None = None,
    ) -> Float[Array, "batch length embed"]:
        """Returns the attention of `x` to keys and values of `keys_and_values`."""
        query = constrain(linear(x, self.query[...], self.dtype), "batch", "length", "heads", "head_dim")
        if self.normalized:
            query = self.query_norm(query)
        if rotation is not None:
            query = rotate(query, rotation)
        attended = dot_product_attention(query, key, value, mask, self.scale, bias)
        return checkpoint_name(linear(attended, self.output[...], self.dtype, contracted=2), "attention_output")
