"""The parts of a layer, made as a config says."""

from flax import nnx

from m5jax.models.attention import Attention
from m5jax.models.layers import ACTIVATIONS, NORMS, GatedMlp, LayerNorm, RmsNorm
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
        adapters=config.adapters,
    )


def make_mlp(config: ModelSettings, rngs: nnx.Rngs, *, shrink: float = 1.0) -> GatedMlp:
    """Returns a gated MLP; `shrink` as of `make_attention`."""
    return GatedMlp(
        config.width,
        config.mlp_hidden,
        ACTIVATIONS[config.activation],
        config.compute_dtype,
        rngs,
        output_stddev=config.mlp_hidden**-0.5 * shrink,
        adapters=config.adapters,
    )
