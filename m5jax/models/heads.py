"""What sits on top of an encoder: the masked-LM head, and pooling into one embedding a sequence."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from m5jax.models.layer_parts import make_norm
from m5jax.models.layers import ACTIVATIONS, normal_parameter
from m5jax.models.products import gathered_product, linear
from m5jax.models.settings import ModelSettings
from partitioning import constrain

POOLINGS = ("mean", "max", "first")
_LEAST = -1e30  # below all states


class MaskedLanguageModelHead(nnx.Module):
    """Dense, activation and norm before the logits on the tied embedding (BERT, arXiv 1810.04805; ModernBERT,
    2412.13663)."""

    def __init__(self, config: ModelSettings, has_bias: bool, rngs: nnx.Rngs):
        self.config = config
        self.dense = normal_parameter(rngs, (config.width, config.width), ("embed", "mlp"), config.width**-0.5)
        self.norm = make_norm(config)
        self.has_bias = has_bias
        if has_bias:
            self.bias = nnx.Param(jnp.zeros((config.vocab_size,), jnp.float32), logical_axes=("vocab",))

    def __call__(
        self, hidden: Float[Array, "batch budget embed"], embedding: Float[Array, "vocab embed"]
    ) -> Float[Array, "batch budget vocab"]:
        """Returns float32 logits."""
        dense = linear(hidden, self.dense, self.config.compute_dtype)
        transformed = self.norm(ACTIVATIONS[self.config.activation](dense))
        logits = token_logits(transformed, embedding, self.config)
        return logits + self.bias[...] if self.has_bias else logits


def token_logits(
    hidden: Float[Array, "batch length embed"], embedding: Float[Array, "vocab embed"], config: ModelSettings
) -> Float[Array, "batch length vocab"]:
    """Returns float32 logits: products of states with the vocabulary's rows, which grow with the width and are divided
    by how much (arXiv 2203.03466, table 8)."""
    # Transposed before it is gathered: XLA for TPUs adds up gradients in parts of the first axis only.
    float32 = jnp.dtype("float32")
    logits = gathered_product(("vocab", "embed"), True, config.compute_dtype, float32, hidden, embedding.T)
    logits = logits / config.width_multiple
    return constrain(logits.reshape(*hidden.shape[:2], -1), "batch", None, "vocab")


def pool(
    hidden: Float[Array, "batch length embed"], segment_ids: Int[Array, "batch length"], pooling: str
) -> Float[Array, "batch embed"]:
    """Returns one float32 embedding a row of one segment: mean or maximum over its tokens (of a row without, zeros), or
    the first one's state."""
    hidden = hidden.astype(jnp.float32)
    if pooling == "first":
        return hidden[:, 0]
    real = (segment_ids > 0)[..., None]
    if pooling == "max":
        return jnp.where(jnp.any(real, axis=1), jnp.max(hidden, axis=1, where=real, initial=_LEAST), 0.0)
    return jnp.sum(hidden * real, axis=1) / jnp.maximum(jnp.sum(real, axis=1), 1)
