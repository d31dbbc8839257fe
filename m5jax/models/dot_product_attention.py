"""Softmax attention of queries to keys, and the masks of packed sequences.

Semantics used everywhere: `segment_ids` [batch, length] number the packed examples of a row from 1, 0 is padding; a
token attends to tokens of its own segment only. `positions` [batch, length] count from 0 within each segment.
"""

import jax
import jax.numpy as jnp
from jax.extend.backend import get_backend
from jaxtyping import Array, Bool, Float, Int

from partitioning import current_spec


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
    products times `scale`, plus `bias`. On NVIDIA GPUs by cuDNN, which does not hold the scores of each head, where it
    can; not with a bias, which is as large as they are.
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
    """Returns whether the default backend is an NVIDIA GPU that has cuDNN's attention, Ampere or later."""
    if "cuda" not in get_backend().platform_version.lower():
        return False
    return float(jax.local_devices()[0].compute_capability) >= 8.0


def cudnn_takes(
    query: Float[Array, "batch length heads head_dim"], key: Float[Array, "batch keys kv_heads head_dim"]
) -> bool:
    """Returns whether cuDNN has attention of these shapes and types (`jax.nn.dot_product_attention`): of half
    precision, sizes of heads up to 128 in steps of 8 and even lengths, split over devices like the keys."""
    (_, length, _, size), keys = query.shape, key.shape[1]
    is_half = query.dtype in (jnp.bfloat16, jnp.float16)
    splits = [
        current_spec(("batch", "length", heads, "head_dim"), x.shape)
        for heads, x in (("heads", query), ("kv_heads", key))
    ]
    return is_half and size <= 128 and size % 8 == length % 2 == keys % 2 == 0 and splits[0] == splits[1]
