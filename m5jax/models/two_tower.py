"""Two towers: an embedding of each side of a pair, and how well two embeddings fit.

The embedding of a side may be cut to its first dimensions (Matryoshka, arXiv 2205.13147), and is an embedding still
where it was trained for these.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from m5jax.errors import UserError, check_least, unknown_name
from m5jax.models.encoder import Encoder, EncoderConfig
from m5jax.models.layers import gelu, normal_parameter
from m5jax.models.lexical import LexicalEmbedding
from m5jax.models.ngram_encoder import NgramEncoderConfig
from m5jax.models.products import linear

SIMILARITIES = ("cosine", "dot", "bilinear", "mlp")
LARGEST_SCALE = 100.0  # arXiv 2103.00020, section 2.5
_SMALLEST_NORM = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoTowerConfig:
    """Shape of a pair of towers.

    Attributes:
      encoder: of each tower.
      shared: both sides have one tower; else each has its own, equal at first where they are pre-trained.
      projection: size of an embedding, projected from what the encoder pools; 0: as that.
      lexical: size of a part after that, of which tokens a text has (`m5jax.models.lexical`); 0: there is none.
      similarity: of two embeddings u and v, "cosine", "dot", "bilinear" (u W v), or "mlp" of [u, v, |u - v|, u * v]
        (arXiv 1705.02364), which no index can search.
      temperature: that similarities are divided by at first; it is learned (arXiv 2103.00020, section 2.3).
    """

    encoder: EncoderConfig | NgramEncoderConfig
    shared: bool = True
    projection: int = 0
    lexical: int = 0
    similarity: str = "cosine"
    temperature: float = 0.1

    def __post_init__(self) -> None:
        if self.similarity not in SIMILARITIES:
            raise unknown_name("TwoTowerConfig.similarity", self.similarity, SIMILARITIES)
        check_least(self, projection=0, lexical=0)
        if self.lexical and isinstance(self.encoder, NgramEncoderConfig):
            raise UserError("TwoTowerConfig.lexical is of encoders; a bag of n-grams is one of words already")
        if not 1 / LARGEST_SCALE <= self.temperature < math.inf:
            raise UserError(f"TwoTowerConfig.temperature = {self.temperature}; allowed: {1 / LARGEST_SCALE} and above")

    def make(self, rngs: nnx.Rngs) -> "TwoTower":
        return TwoTower(self, rngs)

    @property
    def width_multiple(self) -> float:
        return self.encoder.width_multiple

    @property
    def size(self) -> int:
        """Of an embedding."""
        return (self.projection or self.encoder.width) + self.lexical

    @property
    def compute_dtype(self) -> jnp.dtype:
        return self.encoder.compute_dtype


class TwoTower(nnx.Module):
    """Sides of pairs to embeddings, and embeddings to logits: similarity times a learned scale plus a learned bias."""

    def __init__(self, config: TwoTowerConfig, rngs: nnx.Rngs):
        self.config = config
        self.encoder = config.encoder.make(rngs)
        width, size = config.encoder.width, config.size
        if not config.shared:
            self.right_encoder = config.encoder.make(rngs)
        if config.projection:
            shape = (width, config.projection)
            self.projection = normal_parameter(rngs, shape, ("embed", "mlp"), width**-0.5)
            if not config.shared:
                self.right_projection = normal_parameter(rngs, shape, ("embed", "mlp"), width**-0.5)
        if config.lexical:
            self.lexical = LexicalEmbedding(config.encoder.vocab_size, width, config.lexical, rngs)
            self.lexical_share = nnx.Param(jnp.zeros((1,), jnp.float32), logical_axes=("positions",))
        if config.similarity == "bilinear":
            self.bilinear = nnx.Param(jnp.eye(size, dtype=jnp.float32), logical_axes=("embed", "mlp"))
        elif config.similarity == "mlp":
            self.hidden = normal_parameter(rngs, (4 * size, size), ("embed", "mlp"), (4 * size) ** -0.5)
            self.output = normal_parameter(rngs, (size, 1), ("mlp", "embed"), size**-0.5)
        self.log_scale = nnx.Param(jnp.full((1,), -math.log(config.temperature)), logical_axes=("positions",))
        self.bias = nnx.Param(jnp.zeros((1,), jnp.float32), logical_axes=("positions",))

    def embed(
        self,
        inputs: Int[Array, "batch length"],
        segment_ids: Int[Array, "batch length"],
        dropout_keys: Key[Array, " batch"] | None = None,
        right: bool = False,
    ) -> Float[Array, "batch size"]:
        """Returns one float32 embedding a row; unit vectors for the cosine.

        Args:
          inputs: token ids of one example a row.
          segment_ids: 1 for tokens, 0 for padding.
          dropout_keys: of each row; None for evaluation.
          right: the rows are right sides of pairs.
        """
        own = right and not self.config.shared
        encoder = self.right_encoder if own else self.encoder
        embeddings = encoder.embed(inputs, segment_ids, dropout_keys)
        if self.config.projection:
            projection = self.right_projection if own else self.projection
            embeddings = linear(embeddings, projection, self.config.compute_dtype).astype(jnp.float32)
        if self.config.lexical:
            assert isinstance(encoder, Encoder)  # as the config has checked
            words = self.lexical(inputs, encoder.token_embeddings(inputs), segment_ids > 0)
            share = jax.nn.sigmoid(self.lexical_share[0])
            parts = jnp.sqrt(1.0 - share) * _unit(embeddings), jnp.sqrt(share) * _unit(words)
            embeddings = jnp.concatenate(parts, axis=-1)
        return self._normed(embeddings)

    def searchable(self, embeddings: Float[Array, "batch size"]) -> Float[Array, "batch size"]:
        """Returns of left sides' embeddings those whose inner product with right ones is their similarity."""
        if self.config.similarity == "mlp":
            raise UserError("the similarity mlp is no inner product, which an index could search")
        return self._turned(embeddings) / self._spread(embeddings)

    def pair_similarities(
        self, left: Float[Array, "*batch size"], right: Float[Array, "*batch size"], size: int = 0
    ) -> Float[Array, "*batch"]:
        """Returns the similarities of pairs of embeddings, of their first `size` dimensions (0: of all).

        Raises:
          UserError: there are not so many dimensions, or the similarity is "mlp" and some are left out.
        """
        left, right = self._cut(left, size), self._cut(right, size)
        if self.config.similarity != "mlp":
            return jnp.sum(self._turned(left) * right, axis=-1) / self._spread(left)
        joined = jnp.concatenate([left, right, jnp.abs(left - right), left * right], axis=-1)
        hidden = gelu(linear(joined, self.hidden, jnp.dtype("float32")))
        return linear(hidden, self.output, jnp.dtype("float32"))[..., 0]

    def all_similarities(
        self, left: Float[Array, "rows size"], right: Float[Array, "columns size"], size: int = 0
    ) -> Float[Array, "rows columns"]:
        """Returns the similarities of every left with every right embedding; see `pair_similarities`.

        Raises:
          UserError: the similarity is "mlp", or there are not so many dimensions.
        """
        if self.config.similarity == "mlp":
            raise UserError("the similarity mlp is of pairs only; losses over all pairs of a batch cannot use it")
        left, right = self._cut(left, size), self._cut(right, size)
        return jnp.matmul(self._turned(left), right.T, precision=jax.lax.Precision.HIGHEST) / self._spread(left)

    def logits(self, similarities: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """Returns similarities times the learned scale, plus the learned bias."""
        return self.scale * similarities + self.bias[0]

    @property
    def scale(self) -> Float[Array, ""]:
        """One over the temperature."""
        scale = jnp.exp(self.log_scale[0])
        # The gradient is not cut off: a scale at its limit could never go down again.
        return scale + jax.lax.stop_gradient(jnp.minimum(scale, LARGEST_SCALE) - scale)

    def _turned(self, left: Array) -> Array:
        size = left.shape[-1]
        if self.config.similarity != "bilinear":
            return left
        return jnp.matmul(left, self.bilinear[...][:size, :size], precision=jax.lax.Precision.HIGHEST)

    def _spread(self, left: Array) -> float:
        """Returns how products grow with the size of embeddings."""
        return 1.0 if self.config.similarity == "cosine" else left.shape[-1] ** 0.5

    def _cut(self, embeddings: Array, size: int) -> Array:
        dimensions = embeddings.shape[-1]
        if not size or size == dimensions:
            return embeddings
        if size > dimensions:
            raise UserError(f"embeddings of {dimensions} dimensions cannot be cut to {size}")
        if self.config.similarity == "mlp":
            raise UserError(f"the similarity mlp is of whole embeddings; they cannot be cut to {size} dimensions")
        return self._normed(embeddings[..., :size])

    def _normed(self, embeddings: Array) -> Array:
        return _unit(embeddings) if self.config.similarity == "cosine" else embeddings


def _unit(embeddings: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
    norm = jnp.sqrt(jnp.sum(jnp.square(embeddings), axis=-1, keepdims=True) + _SMALLEST_NORM**2)
    return embeddings / norm
