"""The decoder: Llama 3's arrangement, so that weights go to and from it without loss.

Token embedding, then per layer `x + attention(norm(x))` and `x + mlp(norm(x))`, a final norm; root-mean-square norms,
rotary positions, keys and values shared by groups of query heads, SwiGLU, no biases (arXiv 2407.21783, table 3). With
`query_key_norm` it is Qwen3's (arXiv 2505.09388).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from m5jax.errors import UserError
from m5jax.models.attention import Attention, attention_mask
from m5jax.models.decoding_cache import DecodingCache, KeysAndValues, empty_keys_and_values, put_keys_and_values
from m5jax.models.heads import token_logits
from m5jax.models.layers import GatedMlp, RmsNorm, dropout, embedding_dropout, normal_parameter, silu
from m5jax.models.maximal_update import MaximalUpdate
from m5jax.models.rotary import LongContext, Rotation, rotary_angles
from m5jax.models.settings import ModelSettings
from m5jax.models.stack import scan_layers, stack_layers
from partitioning import constrain


@dataclasses.dataclass(frozen=True)
class DecoderConfig(ModelSettings):
    """Shape and numerics of a decoder.

    Attributes:
      vocab_size: rows of the embedding, at least the vocabulary's size.
      width: size of a token's state.
      layers: transformer layers.
      heads: attention heads of queries.
      kv_heads: of keys and values, a divisor of `heads`.
      head_dim: size of a head, even (rotary pairs).
      mlp_hidden: hidden units of the gated MLP.
      max_length: longest sequence, in tokens, with what is written.
      bidirectional_prefix: tokens attend to all of the inputs, not only to those before (prefix LM, arXiv 1910.10683,
        section 3.2.3); else what a batch says of it is ignored.
      query_key_norm: each query and key head is normed.
      tied_logits: logits come from the embedding, else from a matrix of their own.
      dropout_rate: of the embedding and of each attention and MLP output.
      rotary_theta: base of the rotary frequencies.
      long_context: how rotations are slowed down for long sequences; None: they are not.
      norm_epsilon: added to the mean square in norms.
      dtype: of the products: "bfloat16", "float32", or "auto" (bfloat16 except on CPU).
      remat: what the backward pass keeps: "none" (keeps all), "dots", "outputs" or "full" (recomputes all).
      maximal_update: the model whose best rates are this one's too; None: the standard parametrization.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_hidden: int
    max_length: int = 8192
    bidirectional_prefix: bool = False
    query_key_norm: bool = False
    tied_logits: bool = False
    dropout_rate: float = 0.0
    rotary_theta: float = 500_000.0
    long_context: LongContext | None = None
    norm_epsilon: float = 1e-5
    dtype: str = "auto"
    remat: str = "none"
    maximal_update: MaximalUpdate | None = None

    def __post_init__(self) -> None:
        self.check(
            ("vocab_size", "width", "layers", "heads", "kv_heads", "head_dim", "mlp_hidden", "max_length"),
            ("rotary_theta", "norm_epsilon"),
        )
        if self.heads % self.kv_heads:
            raise UserError(
                f"DecoderConfig.kv_heads = {self.kv_heads} does not divide heads = {self.heads} into equal groups"
            )
        if self.head_dim % 2:
            raise UserError(f"DecoderConfig.head_dim = {self.head_dim}; rotary positions need heads of an even size")

    def make(self, rngs: nnx.Rngs) -> "Decoder":
        return Decoder(self, rngs)

    def flops_per_token(self, length: int, predicted_fraction: float) -> float:
        """Returns FLOPs of forward and backward a token, as `EncoderConfig.flops_per_token`: of all scores, masked ones
        too, and of logits at `predicted_fraction` of the positions."""
        layer = 2 * self.width * (self.heads + self.kv_heads) * self.head_dim + 3 * self.width * self.mlp_hidden
        layer += 2 * length * self.heads * self.head_dim
        return 6.0 * (self.layers * layer + predicted_fraction * self.width * self.vocab_size)


class _Layer(nnx.Module):
    """Pre-norm self-attention and gated MLP."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        self.dropout_rate = config.dropout_rate
        width, epsilon, dtype = config.width, config.norm_epsilon, config.compute_dtype
        shrink = (2 * config.layers) ** -0.5  # as in the encoder
        self.attention_norm = RmsNorm(width, epsilon)
        self.attention = Attention(
            width,
            config.heads,
            config.head_dim,
            dtype,
            rngs,
            kv_heads=config.kv_heads,
            output_stddev=(config.heads * config.head_dim) ** -0.5 * shrink,
            scale=config.attention_scale,
            norm_epsilon=epsilon if config.query_key_norm else None,
        )
        self.mlp_norm = RmsNorm(width, epsilon)
        self.mlp = GatedMlp(width, config.mlp_hidden, config.mlp_hidden**-0.5 * shrink, dtype, rngs, silu)

    def __call__(
        self,
        x: Float[Array, "batch length embed"],
        key: Key[Array, ""] | None,
        mask: Bool[Array, "batch 1 length length"],
        rotation: Rotation,
    ) -> Float[Array, "batch length embed"]:
        attention_key, mlp_key = (None, None) if key is None else jax.random.split(key)
        normed = self.attention_norm(x)
        x = x + dropout(self.attention(normed, normed, mask, rotation=rotation), self.dropout_rate, attention_key)
        x = x + dropout(self.mlp(self.mlp_norm(x)), self.dropout_rate, mlp_key)
        return constrain(x, "batch", "length", "embed")

    def extend(
        self,
        carry: tuple[Array, KeysAndValues],
        index: Int[Array, ""],
        position: Int[Array, ""] | int,
        mask: Bool[Array, "batch 1 length keys"],
        rotation: Rotation,
    ) -> tuple[Array, KeysAndValues]:
        """Returns the states of further tokens, [batch, length, embed], and the cache with their keys and values."""
        x, own = carry
        normed = self.attention_norm(x)
        new = self.attention.keys_and_values(normed, rotation)
        own, (key, value) = put_keys_and_values(own, new, index, position)
        x = x + self.attention.attend(normed, key, value, mask, rotation=rotation)
        return x + self.mlp(self.mlp_norm(x)), own


class Decoder(nnx.Module):
    """Token ids to states that predict the token after each, and to its logits."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        self.config = config
        shape, axes = (config.vocab_size, config.width), ("vocab", "embed")
        self.embedding = normal_parameter(rngs, shape, axes, config.base_width**-0.5)
        self.layers = stack_layers(lambda layer_rngs: _Layer(config, layer_rngs), config.layers, rngs)
        self.final_norm = RmsNorm(config.width, config.norm_epsilon)
        if not config.tied_logits:
            self.output_embedding = normal_parameter(rngs, shape, axes, config.base_width**-0.5)

    def __call__(
        self,
        inputs: Int[Array, "batch length"],
        segment_ids: Int[Array, "batch length"],
        positions: Int[Array, "batch length"],
        dropout_key: Key[Array, ""] | None = None,
        bidirectional: Int[Array, "batch length"] | None = None,
    ) -> Float[Array, "batch length embed"]:
        """Returns token states; each packed segment gets what it would get alone.

        Args:
          inputs: token ids.
          segment_ids: 1, 2, ... for the packed examples of a row; 0 for padding.
          positions: 0, 1, ... within each segment.
          dropout_key: None for evaluation.
          bidirectional: 1 for tokens of inputs, 0 for those that are written; None: there are no inputs. Read with
            `bidirectional_prefix` only.
        """
        config = self.config
        x = constrain(self._embed(inputs), "batch", "length", "embed")
        x, layer_keys = embedding_dropout(x, config.dropout_rate, dropout_key, config.layers)
        mask, rotation = self._mask(segment_ids, positions, bidirectional), self._rotation(positions)

        def apply(layer: _Layer, carry: Array, key: Any) -> Array:
            return layer(carry, key, mask, rotation)

        return self.final_norm(scan_layers(self.layers, x, apply, layer_keys, config.remat))

    def start(
        self, inputs: Int[Array, "batch length"], segment_ids: Int[Array, "batch length"], length: int
    ) -> tuple[Int[Array, " batch"], DecodingCache]:
        """Returns each row's last input, and the cache of those before it for writing up to `length` targets.

        Args:
          inputs: token ids, one example a row.
          segment_ids: 1 for tokens, 0 for padding after them.
          length: the most targets.
        """
        config, (rows, inputs_length) = self.config, inputs.shape
        shape = (config.layers, rows, inputs_length + length, config.kv_heads, config.head_dim)
        own = empty_keys_and_values(*shape, config.compute_dtype)
        positions = jnp.broadcast_to(jnp.arange(inputs_length), inputs.shape)
        mask = self._mask(segment_ids, positions, segment_ids)
        mask = jnp.pad(mask, [(0, 0), (0, 0), (0, 0), (0, length)])
        cache = DecodingCache(own, jnp.zeros_like(segment_ids, bool))
        _, own = self._extend(self._embed(inputs), positions, 0, mask, cache)
        counts = jnp.sum(segment_ids > 0, axis=1)
        # The last input is read again, by the first step, whose state predicts the first target.
        last = jnp.take_along_axis(inputs, jnp.maximum(counts - 1, 0)[:, None], axis=1)[:, 0]
        return last, DecodingCache(own, positions < counts[:, None] - 1)

    def step(
        self, tokens: Int[Array, " batch"], position: Int[Array, ""], cache: DecodingCache
    ) -> tuple[Float[Array, "batch vocab"], DecodingCache]:
        """Returns the logits of the target at `position` of each row, given the one before it, and the cache with it.

        Args:
          tokens: the target before `position`; at the first, from `start`.
          position: the same in all rows.
          cache: from `start`, or of the position before.
        """
        rows, inputs_length = cache.input_mask.shape
        written = jnp.arange(cache.own[0].shape[2] - inputs_length) <= position
        mask = jnp.concatenate([cache.input_mask, jnp.broadcast_to(written, (rows, len(written)))], axis=1)
        positions = jnp.sum(cache.input_mask, axis=1, keepdims=True) + position
        embedded = self._embed(tokens[:, None])
        x, own = self._extend(embedded, positions, inputs_length + position, mask[:, None, None], cache)
        return self.logits(self.final_norm(x))[:, 0], cache._replace(own=own)

    def logits(self, hidden: Float[Array, "batch length embed"]) -> Float[Array, "batch length vocab"]:
        """Returns float32 logits of token states; for large vocabularies call it on a few positions at a time."""
        kernel = self.embedding if self.config.tied_logits else self.output_embedding
        return token_logits(hidden, kernel[...], self.config.compute_dtype) / self.config.width_multiple

    def _extend(
        self,
        embedded: Float[Array, "batch length embed"],
        positions: Int[Array, "batch length"],
        place: Int[Array, ""] | int,
        mask: Bool[Array, "batch 1 length keys"],
        cache: DecodingCache,
    ) -> tuple[Float[Array, "batch length embed"], KeysAndValues]:
        """Returns the states of further tokens, before the final norm, and the cache's keys and values with theirs from
        `place` on."""
        rotation = self._rotation(positions)

        def apply(layer: _Layer, carry: Any, index: Any) -> Any:
            return layer.extend(carry, index, place, mask, rotation)

        return scan_layers(self.layers, (embedded, cache.own), apply, jnp.arange(self.config.layers), "none")

    def _mask(
        self,
        segment_ids: Int[Array, "batch length"],
        positions: Int[Array, "batch length"],
        bidirectional: Int[Array, "batch length"] | None,
    ) -> Bool[Array, "batch 1 length length"]:
        if bidirectional is None or not self.config.bidirectional_prefix:
            bidirectional = jnp.zeros_like(positions)
        return attention_mask(segment_ids, positions, bidirectional)

    def _rotation(self, positions: Int[Array, "batch length"]) -> Rotation:
        config = self.config
        return rotary_angles(positions, config.head_dim, config.rotary_theta, config.long_context)

    def _embed(self, tokens: Int[Array, "batch length"]) -> Float[Array, "batch length embed"]:
        return self.embedding[...].astype(self.config.compute_dtype)[tokens]
