"""A bag of hashed n-grams: the mean of their embeddings (Nigam et al., arXiv 1907.00937, section 3.1)."""

import dataclasses

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from m5jax.errors import check_below_one, check_least
from m5jax.models.heads import pool
from m5jax.models.layers import dropout, embed_tokens, normal_parameter


@dataclasses.dataclass(frozen=True, kw_only=True)
class NgramEncoderConfig:
    """Shape of a bag of n-grams.

    Attributes:
      vocab_size: rows of the table, among them the buckets of n-grams that are hashed.
      width: size of an embedding.
      max_length: most n-grams of a text.
      dropout_rate: of the entries of n-grams' embeddings.
    """

    vocab_size: int
    width: int = 256
    max_length: int = 256
    dropout_rate: float = 0.0

    def __post_init__(self) -> None:
        check_least(self, vocab_size=1, width=1, max_length=1)
        check_below_one(self, "dropout_rate")

    def make(self, rngs: nnx.Rngs) -> "NgramEncoder":
        return NgramEncoder(self, rngs)

    @property
    def width_multiple(self) -> float:
        return 1.0

    @property
    def compute_dtype(self) -> jnp.dtype:
        return jnp.dtype("float32")

    def flops_per_token(self, length: int, predicted_fraction: float) -> float:
        """Returns 0: there are no products."""
        return 0.0


class NgramEncoder(nnx.Module):
    """Ids of n-grams to one embedding a row."""

    def __init__(self, config: NgramEncoderConfig, rngs: nnx.Rngs):
        self.config = config
        shape = (config.vocab_size, config.width)
        self.embedding = normal_parameter(rngs, shape, ("vocab", "embed"), config.width**-0.5)

    def embed(
        self,
        inputs: Int[Array, "batch length"],
        segment_ids: Int[Array, "batch length"],
        dropout_keys: Key[Array, " batch"] | None = None,
    ) -> Float[Array, "batch embed"]:
        """Returns the mean embedding of each row's n-grams; `segment_ids` are 1 for these and 0 for padding."""
        states = embed_tokens(self.embedding[...], inputs, jnp.dtype("float32"))
        return pool(dropout(states, self.config.dropout_rate, dropout_keys), segment_ids, "mean")
