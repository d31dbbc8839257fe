"""T5's attention: to itself or to another sequence, unscaled, with a learned bias by relative position.

arXiv 1910.10683, section 2.1. Scores are not divided by sqrt(head_dim); the initial query kernel is smaller instead.
"""

import math

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Int

from m5jax.models.attention import dot_product_attention
from m5jax.models.layers import linear, normal_parameter
from partitioning import constrain


def distance_buckets(buckets: int, max_distance: int) -> np.ndarray:
    """Returns the bucket of each distance from 0 to `max_distance`, int32 [max_distance + 1].

    The first half holds one distance each, the second half logarithmically wider ranges; `max_distance` and all beyond
    share the last (T5X, `examples/t5/layers.py::RelativePositionBiases`).
    """
    exact = buckets // 2
    distance = np.arange(max_distance + 1)
    ratio = np.log(np.maximum(distance, 1).astype(np.float32) / exact) / math.log(max_distance / exact)
    far = exact + (ratio * (buckets - exact)).astype(np.int32)
    return np.where(distance < exact, distance, np.minimum(far, buckets - 1)).astype(np.int32)


class RelativePositionBias(nnx.Module):
    """A bias a head and bucket of relative positions, owned once by a stack and shared by its layers.

    A bidirectional stack uses half of the buckets for keys after the query; a causal one has them all for keys before.
    """

    def __init__(self, heads: int, buckets: int, max_distance: int, bidirectional: bool, stddev: float, rngs: nnx.Rngs):
        self.buckets, self.max_distance, self.bidirectional = buckets, max_distance, bidirectional
        self.weights = normal_parameter(rngs, (buckets, heads), ("positions", "heads"), stddev)

    def __call__(
        self, query_positions: Int[Array, "batch length"], key_positions: Int[Array, "batch keys"]
    ) -> Float[Array, "batch heads length keys"]:
        """Returns the float32 bias of each score; what is between segments is for the mask to hide."""
        farthest = self.max_distance
        relative = jnp.clip(key_positions[:, None, :] - query_positions[:, :, None], -farthest, farthest)
        # First by distance, a few hundred rows, so that one gather serves the many pairs.
        by_distance = self.weights[...][self._bucket_by_relative_position()]
        return jnp.moveaxis(by_distance[relative + farthest], -1, 1)

    def _bucket_by_relative_position(self) -> np.ndarray:
        """Returns the bucket of -max_distance to max_distance."""
        if self.bidirectional:
            half = distance_buckets(self.buckets // 2, self.max_distance)
            return np.concatenate([half[:0:-1], half[:1], half[1:] + self.buckets // 2])
        before = distance_buckets(self.buckets, self.max_distance)
        return np.concatenate([before[::-1], np.zeros(self.max_distance, np.int32)])


class RelativeAttention(nnx.Module):
    """Multi-head attention of T5, without biases in its projections, from `x` to `context`."""

    def __init__(self, width: int, heads: int, head_dim: int, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.dtype = dtype
        shape, axes = (width, heads, head_dim), ("embed", "heads", "head_dim")
        self.query = normal_parameter(rngs, shape, axes, (width * head_dim) ** -0.5)
        self.key = normal_parameter(rngs, shape, axes, width**-0.5)
        self.value = normal_parameter(rngs, shape, axes, width**-0.5)
        self.output = normal_parameter(
            rngs, (heads, head_dim, width), ("heads", "head_dim", "embed"), (heads * head_dim) ** -0.5
        )

    def __call__(
        self,
        x: Float[Array, "batch length embed"],
        context: Float[Array, "batch keys embed"],
        mask: Bool[Array, "batch 1 length keys"],
        bias: Float[Array, "#batch heads length keys"] | None,
    ) -> Float[Array, "batch length embed"]:
        return self.attend(x, *self.keys_and_values(context), mask, bias)

    def keys_and_values(
        self, context: Float[Array, "batch keys embed"]
    ) -> tuple[Float[Array, "batch keys heads head_dim"], Float[Array, "batch keys heads head_dim"]]:
        """Returns what `attend` attends to."""
        return self._heads_of(context, self.key), self._heads_of(context, self.value)

    def attend(
        self,
        x: Float[Array, "batch length embed"],
        key: Float[Array, "batch keys heads head_dim"],
        value: Float[Array, "batch keys heads head_dim"],
        mask: Bool[Array, "batch 1 length keys"],
        bias: Float[Array, "#batch heads length keys"] | None,
    ) -> Float[Array, "batch length embed"]:
        """Returns the attention of `x` to keys and values of `keys_and_values`."""
        attended = dot_product_attention(self._heads_of(x, self.query), key, value, mask, 1.0, bias)
        return checkpoint_name(linear(attended, self.output[...], self.dtype, contracted=2), "attention_output")

    def _heads_of(
        self, x: Float[Array, "batch length embed"], kernel: nnx.Param
    ) -> Float[Array, "batch length heads head_dim"]:
        return constrain(linear(x, kernel[...], self.dtype), "batch", "length", "heads", "head_dim")
