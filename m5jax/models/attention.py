"""Multi-head attention: projections around what a view lets queries see."""

import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from m5jax.models.layers import RmsNorm, normal_parameter
from m5jax.models.low_rank import ATTENTION_TARGETS, LowRankAdapters, add_adapters, project
from m5jax.models.rotary import Rotation, rotate
from m5jax.models.views import View
from partitioning import constrain


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
      adapters: of the kernels; None: there are none.
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
        adapters: LowRankAdapters | None = None,
    ):
        self.dtype, self.scale = dtype, scale
        shape, axes = (width, kv_heads, head_dim), ("embed", "kv_heads", "head_dim")
        self.query = normal_parameter(rngs, (width, heads, head_dim), ("embed", "heads", "head_dim"), query_stddev)
        self.key = normal_parameter(rngs, shape, axes, width**-0.5)
        self.value = normal_parameter(rngs, shape, axes, width**-0.5)
        self.output = normal_parameter(rngs, (heads, head_dim, width), ("heads", "head_dim", "embed"), output_stddev)
        add_adapters(self, adapters, ATTENTION_TARGETS, rngs)
        self.normalized = norm_epsilon is not None
        if norm_epsilon is not None:
            self.query_norm, self.key_norm = (RmsNorm(head_dim, norm_epsilon, "head_dim") for _ in range(2))

    def __call__(
        self, x: Float[Array, "batch length embed"], context: Float[Array, "batch keys embed"], view: View
    ) -> Float[Array, "batch length embed"]:
        """Returns the attention of `x` to `context`; the view's rotation is of both, whose positions are then alike."""
        return self.attend(x, *self.keys_and_values(context, view.rotation), view)

    def keys_and_values(
        self, context: Float[Array, "batch keys embed"], rotation: Rotation | None
    ) -> tuple[Float[Array, "batch keys kv_heads head_dim"], Float[Array, "batch keys kv_heads head_dim"]]:
        """Returns what `attend` attends to."""
        key = constrain(project(self, "key", context), "batch", "length", "kv_heads", "head_dim")
        value = constrain(project(self, "value", context), "batch", "length", "kv_heads", "head_dim")
        if self.normalized:
            key = self.key_norm(key)
        key = key if rotation is None else rotate(key, rotation)
        # Queries of a part of the row attend to keys of all of it (context parallelism by gathering, arXiv 2407.21783,
        # section 3.3.2).
        key, value = (constrain(x, "batch", "keys", "kv_heads", "head_dim") for x in (key, value))
        return checkpoint_name(key, "key"), checkpoint_name(value, "value")

    def attend(
        self,
        x: Float[Array, "batch length embed"],
        key: Float[Array, "batch keys kv_heads head_dim"],
        value: Float[Array, "batch keys kv_heads head_dim"],
        view: View,
    ) -> Float[Array, "batch length embed"]:
        """Returns the attention of `x` to keys and values of `keys_and_values`."""
        query = constrain(project(self, "query", x), "batch", "length", "heads", "head_dim")
        if self.normalized:
            query = self.query_norm(query)
        if view.rotation is not None:
            query = rotate(query, view.rotation)
        attended = view.attend(checkpoint_name(query, "query"), key, value, self.scale)
        return project(self, "output", checkpoint_name(attended, "attended"), contracted=2)
