"""What sits on top of an encoder: the masked-LM head, and pooling into one embedding a sequence."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from m5jax.models.layers import LayerNorm, gelu, linear, normal_parameter
from partitioning import constrain

POOLINGS = ("mean", "first")


class MaskedLanguageModelHead(nnx.Module):
    """Dense, GELU and norm before the logits on the tied embedding (BERT, arXiv 1810.04805; ModernBERT, 2412.13663)."""

    def __init__(self, width: int, epsilon: float, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.dtype = dtype
        self.dense = normal_parameter(rngs, (width, width), ("embed", "mlp"), width**-0.5)
        self.norm = LayerNorm(width, epsilon)

    def __call__(
        self, hidden: Float[Array, "batch budget embed"], embedding: Float[Array, "vocab embed"]
    ) -> Float[Array, "batch budget vocab"]:
        """Returns float32 logits."""
        transformed = self.norm(gelu(linear(hidden, self.dense[...], self.dtype)))
        # Without this pin XLA computes wrong gradients of the dense layer and the norm on a 2 x 2 x 2 mesh.
        transformed = constrain(transformed, "batch", None, "embed")
        return token_logits(transformed, embedding, self.dtype)


def token_logits(
    hidden: Float[Array, "batch length embed"], embedding: Float[Array, "vocab embed"], dtype: jnp.dtype
) -> Float[Array, "batch length vocab"]:
    """Returns float32 logits: products of states with the vocabulary's rows."""
    flat = hidden.reshape(-1, hidden.shape[-1])  # as in `linear`
    logits = jnp.matmul(flat, embedding.astype(dtype).T, preferred_element_type=jnp.float32)
    return constrain(logits.reshape(*hidden.shape[:2], -1), "batch", None, "vocab")


def pool(
    hidden: Float[Array, "batch length embed"], segment_ids: Int[Array, "batch length"], pooling: str
) -> Float[Array, "batch embed"]:
    """Returns one float32 embedding a row of one segment: the mean over real tokens, or the first token's state."""
    hidden = hidden.astype(jnp.float32)
    if pooling == "first":
        return hidden[:, 0]
    real = (segment_ids > 0).astype(jnp.float32)[..., None]
    return jnp.sum(hidden * real, axis=1) / jnp.maximum(jnp.sum(real, axis=1), 1.0)
