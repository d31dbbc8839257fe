"""Items of one sequence compared token by token."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from m5jax.models.heads import pool
from m5jax.models.layers import gelu, normal_parameter
from m5jax.models.products import linear

_FLOAT32 = jnp.dtype("float32")


class Comparison(nnx.Module):
    """What the tokens of each item find, and miss, among the tokens of the other items.

    Each token attends to the other items', is compared with what it finds there, and the comparisons are pooled
    (decomposable attention, arXiv 1606.01933, section 3). It does so twice: by what it is, the token's embedding, and
    by what it means there, its state.
    """

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.embedded = Alignment(width, rngs)
        self.contextual = Alignment(width, rngs)
        self.pooled = normal_parameter(rngs, (2 * width, width), ("mlp", "embed"), (2 * width) ** -0.5)

    def __call__(
        self,
        embedded: Float[Array, "batch length embed"],
        states: Float[Array, "batch length embed"],
        items: Int[Array, "batch length"],
    ) -> Float[Array, "batch embed"]:
        """Returns one float32 vector a row.

        Args:
          embedded: tokens without their context.
          states: tokens in their context.
          items: 1, 2, ... for the items of a row; 0 for padding.
        """
        compared = gelu(self.embedded(embedded, items) + self.contextual(states, items))
        pooled = [pool(compared, items, pooling) for pooling in ("mean", "max")]
        return linear(jnp.concatenate(pooled, axis=-1), self.pooled, _FLOAT32)


class Alignment(nnx.Module):
    """Attention of tokens to those of other items, and a projection of both and of how they differ."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        # At first a token finds itself.
        self.query = nnx.Param(jnp.eye(width, dtype=jnp.float32), logical_axes=("embed", "mlp"))
        self.difference = normal_parameter(rngs, (4 * width, width), ("embed", "mlp"), (4 * width) ** -0.5)

    def __call__(
        self, tokens: Float[Array, "batch length embed"], items: Int[Array, "batch length"]
    ) -> Float[Array, "batch length embed"]:
        """Returns float32 comparisons; of a token without other items, with zeros."""
        tokens = tokens.astype(jnp.float32)
        found = attend_to_others(linear(tokens, self.query, _FLOAT32), tokens, items)
        both = jnp.concatenate([tokens, found, jnp.abs(tokens - found), tokens * found], axis=-1)
        return linear(both, self.difference, _FLOAT32)


def attend_to_others(
    query: Float[Array, "batch length embed"],
    tokens: Float[Array, "batch length embed"],
    items: Int[Array, "batch length"],
) -> Float[Array, "batch length embed"]:
    """Returns the tokens of other items that each query finds; zeros where there are none."""
    other = (items[:, :, None] != items[:, None, :]) & (items[:, None, :] > 0)
    scores = jnp.einsum("bqe,bke->bqk", query, tokens) * query.shape[-1] ** -0.5
    weights = jax.nn.softmax(jnp.where(other, scores, -1e30), axis=-1) * other
    return jnp.einsum("bqk,bke->bqe", weights, tokens)


def item_numbers(
    inputs: Int[Array, "batch length"], real: Bool[Array, "batch length"], end: int
) -> Int[Array, "batch length"]:
    """Returns 1, 2, ... for the tokens of the items of a row, each ended by the token `end`; 0 for padding."""
    ends = (inputs == end).astype(jnp.int32)
    return (1 + jnp.cumsum(ends, axis=1) - ends) * real
