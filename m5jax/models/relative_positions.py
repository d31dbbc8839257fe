"""T5's positions: a learned bias of each attention score by the relative position (arXiv 1910.10683, section 2.1)."""

import math

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from m5jax.models.layers import normal_parameter


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
