"""The parts of a layer, made as a config says."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Int

from m5jax.models.attention import Attention
from m5jax.models.layers import ACTIVATIONS, NORMS, GatedMlp, LayerNorm, RmsNorm
from m5jax.models.rotary import LongContext, Rotation, rotary_angles
from m5jax.models.settings import ModelSettings


def make_norm(config: ModelSettings) -> LayerNorm | RmsNorm:
    """Returns a norm of states."""
    return NORMS[config.norm](config.width, config.norm_epsilon)


def make_attention(
    config: ModelSettings, rngs: nnx.Rngs, *, shrink: float = 1.0, scaled_queries: bool = False
) -> Attention:
    """Returns attention from states to states.

    Scores are 1 / sqrt(head_size) of products of queries and keys; in wide models with maximal updates they shrink with
    the size instead of its root (arXiv 2203.03466, definition 4.1).

    Args:
      config: of the model.
      rngs: draws the kernels.
      shrink: of what the output starts with.
      scaled_queries: queries start small instead and scores are not scaled (T5), but for queries that are normed.
    """
    width, size, base = config.width, config.head_size, config.base_head_size
    scaled_queries = scaled_queries and not config.query_key_norm
    return Attention(
        width,
        config.heads,
        size,
        config.compute_dtype,
        rngs,
        kv_heads=config.key_value_heads,
        query_stddev=(width * base) ** -0.5 if scaled_queries else width**-0.5,
        output_stddev=(config.heads * size) ** -0.5 * shrink,
        scale=base / size if scaled_queries else base**0.5 / size,
        norm_epsilon=config.norm_epsilon if config.query_key_norm else None,
    )


def make_mlp(config: ModelSettings, rngs: nnx.Rngs, *, shrink: float = 1.0) -> GatedMlp:
    """Returns a gated MLP; `shrink` as of `make_attention`."""
    stddev, activation = config.mlp_hidden**-0.5 * shrink, ACTIVATIONS[config.activation]
    return GatedMlp(config.width, config.mlp_hidden, activation, config.compute_dtype, rngs, output_stddev=stddev)


class View(NamedTuple):
    """What queries of a layer see: the keys that they may, and how positions turn both."""

    mask: Bool[Array, "batch 1 length keys"]
    rotation: Rotation | None


class Views(NamedTuple):
    """Of layers that see all tokens that they may, and of those that see near ones, if there are any."""

    whole: View
    near: View | None
    every: int

    def of_layer(self, index: Int[Array, ""]) -> View:
        """Returns the view of a layer."""
        if self.near is None:
            return self.whole
        sees_all = index % self.every == 0
        return jax.tree.map(lambda *both: jnp.where(sees_all, *both), self.whole, self.near)


def make_views(
    config: ModelSettings,
    mask: Bool[Array, "batch 1 length keys"],
    query_positions: Int[Array, "#batch length"],
    key_positions: Int[Array, "#batch keys"],
    *,
    causal: bool,
    long_context: LongContext | None = None,
) -> Views:
    """Returns the views of a stack of layers; queries turn by their positions.

    Args:
      config: of the model.
      mask: which keys each query may see at all.
      query_positions: 0, 1, ... within each segment.
      key_positions: as the queries'; of keys that are masked, anything.
      causal: near tokens are `local_window` before; else half of them on each side.
      long_context: slows rotations, of layers that see all.
    """

    def rotation(theta: float, scaling: LongContext | None) -> Rotation | None:
        return rotary_angles(query_positions, config.head_size, theta, scaling) if config.rotates else None

    whole = View(mask, rotation(config.rotary_theta, long_context))
    if config.global_every == 1:
        return Views(whole, None, 1)
    reach = config.local_window - 1 if causal else config.local_window // 2
    near = jnp.abs(query_positions[:, :, None] - key_positions[:, None, :]) <= reach
    return Views(whole, View(mask & near[:, None], rotation(config.local_rotary_theta, None)), config.global_every)
