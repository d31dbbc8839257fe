"""Softmax attention of queries to keys, and the masks of packed sequences.

Semantics used everywhere: `segment_ids` [batch, length] number the packed examples of a row from 1, 0 is padding; a
token attends to tokens of its own segment only. `positions` [batch, length] count from 0 within each segment, whose
tokens stand together in their order.
"""

import functools

import jax
import jax.numpy as jnp
from jax.extend.backend import get_backend
from jaxtyping import Array, Bool, Float, Int, Shaped

from partitioning import current_parts, current_spec
from partitioning.current_mesh import is_within_stage
from partitioning.workload import MOST_SCORES


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
    can: not with a bias (not tried), where `sequence` splits the queries, or in a pipeline.
    Elsewhere more scores of a row and head than `MOST_SCORES` are made for a part of the queries at a time, and again
    in the backward pass.
    """
    # JAX 0.10 cannot run cuDNN's attention for several stages at once with a mask that heads share.
    if bias is None and on_cuda() and cudnn_takes(query, key) and not is_within_stage():
        return jax.nn.dot_product_attention(query, key, value, mask=mask, scale=scale, implementation="cudnn")
    parts = current_parts("length", query.shape[1])
    chunks = _count_chunks(query.shape[1] // parts, key.shape[1])
    if chunks == 1:
        return _attend(query, key, value, mask, scale, bias)

    @jax.checkpoint
    def of_chunk(chunk: tuple[Array, Array, Array | None]) -> Array:
        return _attend(chunk[0], key, value, chunk[1], scale, chunk[2])

    cut = functools.partial(_cut, parts=parts, chunks=chunks)
    queries = cut(query, axis=1)
    attended = jax.lax.map(of_chunk, (queries, cut(mask, axis=2), None if bias is None else cut(bias, axis=2)))
    attended = attended.reshape(chunks, len(query), parts, -1, *query.shape[2:])
    return jnp.moveaxis(attended, 0, 2).reshape(query.shape)


def _count_chunks(length: int, keys: int) -> int:
    """Returns into how many equal parts queries are cut so that each has few scores; 1 where the length has no such."""
    wanted = -(-length * keys // MOST_SCORES)
    return next((count for count in range(wanted, 8 * wanted) if length % count == 0), 1)


def _cut(x: Shaped[Array, "..."], parts: int, chunks: int, axis: int) -> Shaped[Array, "chunks ..."]:
    """Returns chunks of an axis, each with tokens of all of the `parts` devices that the axis lies on."""
    shape = x.shape[:axis] + (parts, chunks, -1) + x.shape[axis + 1 :]
    cut = jnp.moveaxis(x.reshape(shape), axis + 1, 0)
    return cut.reshape(chunks, *x.shape[:axis], -1, *x.shape[axis + 1 :])


def _attend(
    query: Float[Array, "batch length heads head_dim"],
    key: Float[Array, "batch keys kv_heads head_dim"],
    value: Float[Array, "batch keys kv_heads head_dim"],
    mask: Bool[Array, "batch 1 length keys"],
    scale: float,
    bias: Float[Array, "#batch heads length keys"] | None,
) -> Float[Array, "batch length heads head_dim"]:
    """Returns the attention of queries whose scores are all held."""
    batch, length, heads, head_dim = query.shape
    kv_heads = key.shape[2]
    grouped = query.reshape(batch, length, kv_heads, heads // kv_heads, head_dim)
    # Keys first: XLA for GPUs lays scores out as the backward pass reads them, and else copies those of all layers.
    scores = jnp.einsum("bkhd,bqhgd->bhgqk", key, grouped, preferred_element_type=jnp.float32)
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
        current_spec((*axes, "head_dim"), x.shape)
        for axes, x in ((("batch", "length", "heads"), query), (("batch", "keys", "kv_heads"), key))
    ]
    return is_half and size <= 128 and size % 8 == length % 2 == keys % 2 == 0 and splits[0] == splits[1]
