"""The encoder-decoder: T5 1.1's arrangement (mT5's too), so that weights go to and from it without loss.

Per stack `x + part(norm(x))` with root-mean-square norms, one relative position bias shared by the layers, gated GELU
with the tanh approximation, a final norm, no biases (arXiv 1910.10683; 2002.05202; mT5, 2010.11934). Scores are not
divided by sqrt(head_dim); the initial query kernel is smaller instead. Rotary positions can take the bias's place.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from m5jax.errors import UserError
from m5jax.models.decoding_cache import (
    DecodingCache,
    KeysAndValues,
    OfLayer,
    empty_keys_and_values,
    put_keys_and_values,
)
from m5jax.models.dot_product_attention import attention_mask, same_segment
from m5jax.models.heads import token_logits
from m5jax.models.layer_parts import make_attention, make_mlp, make_norm
from m5jax.models.layers import dropout, embed_tokens, fold_keys, normal_parameter, split_keys
from m5jax.models.relative_positions import RelativePositionBias
from m5jax.models.settings import ModelSettings
from m5jax.models.stack import run_layers, scan_layers, stack_layers
from m5jax.models.views import View, describe_stack, make_views
from partitioning import constrain
from partitioning.workload import Stack


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderDecoderConfig(ModelSettings):
    """Shape and numerics of an encoder-decoder, as `ModelSettings` and:

    Attributes:
      encoder_layers: layers over the inputs.
      decoder_layers: layers over the targets.
      position_embedding: "relative" (T5) or "rotary".
      relative_buckets: of the relative position bias, a multiple of 2 from 4.
      relative_max_distance: tokens apart from where on all share a bucket, more than half of the buckets.
      tied_logits: logits come from the embedding, with states scaled by width**-0.5 (T5); else from a matrix of their
        own (T5 1.1, mT5).
    """

    encoder_layers: int
    decoder_layers: int
    activation: str = "gelu_tanh"
    position_embedding: str = "relative"
    relative_buckets: int = 32
    relative_max_distance: int = 128
    tied_logits: bool = False

    def __post_init__(self) -> None:
        self.check_choice("position_embedding", ("relative", "rotary"))
        super().__post_init__()
        self.check_layers(("encoder_layers", "decoder_layers"))
        if self.rotates:
            return
        if self.relative_buckets < 4 or self.relative_buckets % 2:
            raise UserError(
                f"EncoderDecoderConfig.relative_buckets = {self.relative_buckets}; allowed: even numbers from 4"
            )
        if self.relative_max_distance <= self.relative_buckets // 2:
            raise UserError(
                f"EncoderDecoderConfig.relative_max_distance = {self.relative_max_distance}; "
                f"more than half of relative_buckets = {self.relative_buckets} is needed"
            )

    @property
    def rotates(self) -> bool:
        return self.position_embedding == "rotary"

    def make(self, rngs: nnx.Rngs) -> "EncoderDecoder":
        return EncoderDecoder(self, rngs)

    def stacks(self, length: float, predicted: float) -> tuple[Stack, ...]:
        layers, biased = (self.encoder_layers, self.decoder_layers), not self.rotates
        return (
            describe_stack(self, "encoder", layers[0], length, causal=False, biased=biased),
            describe_stack(self, "decoder", layers[1], predicted, causal=True, crossed=length, biased=biased),
        )


class _Layer(nnx.Module):
    """Pre-norm self-attention, in a decoder cross attention to the encoder's states, and gated MLP."""

    def __init__(self, config: EncoderDecoderConfig, crosses: bool, rngs: nnx.Rngs):
        self.dropout_rate, self.crosses = config.dropout_rate, crosses
        self.attention_norm = make_norm(config)
        self.attention = make_attention(config, rngs, scaled_queries=True)
        if crosses:
            self.cross_attention_norm = make_norm(config)
            self.cross_attention = make_attention(config, rngs, scaled_queries=True)
        self.mlp_norm = make_norm(config)
        self.mlp = make_mlp(config, rngs)

    def __call__(
        self,
        x: Float[Array, "batch length embed"],
        keys: Key[Array, " batch"] | None,
        view: View,
        encoded: Float[Array, "batch keys embed"] | None,
        cross_view: View | None,
    ) -> Float[Array, "batch length embed"]:
        attention_keys, cross_keys, mlp_keys = split_keys(keys, 3)
        normed = self.attention_norm(x)
        x = x + dropout(self.attention(normed, normed, view), self.dropout_rate, attention_keys)
        if self.crosses:
            assert encoded is not None
            assert cross_view is not None
            crossed = self.cross_attention(self.cross_attention_norm(x), encoded, cross_view)
            x = x + dropout(crossed, self.dropout_rate, cross_keys)
        x = x + dropout(self.mlp(self.mlp_norm(x)), self.dropout_rate, mlp_keys)
        return constrain(x, "batch", "length", "embed")

    def step(
        self,
        carry: tuple[Array, KeysAndValues],
        index: Int[Array, ""],
        position: Int[Array, ""],
        view: View,
        crossed: tuple[Array, Array],
        cross_view: View,
    ) -> tuple[Array, KeysAndValues]:
        """Returns the state of one target a row, [batch, 1, embed], and the cache with its keys and values."""
        x, own = carry
        normed = self.attention_norm(x)
        new = self.attention.keys_and_values(normed, view.rotation)
        own, (key, value) = put_keys_and_values(own, new, index, position)
        x = x + self.attention.attend(normed, key, value, view)
        x = x + self.cross_attention.attend(self.cross_attention_norm(x), *crossed, cross_view)
        return x + self.mlp(self.mlp_norm(x)), own


class _Stack(nnx.Module):
    """Equal layers, their positions and the final norm; a decoder is causal and attends across."""

    def __init__(self, config: EncoderDecoderConfig, is_decoder: bool, rngs: nnx.Rngs):
        self.config = config
        self.count = config.decoder_layers if is_decoder else config.encoder_layers
        self.is_decoder = is_decoder
        if not config.rotates:
            self.position_bias = RelativePositionBias(
                config.heads,
                config.relative_buckets,
                config.relative_max_distance,
                not is_decoder,
                config.base_width**-0.5,
                rngs,
            )
        self.layers = stack_layers(lambda layer_rngs: _Layer(config, is_decoder, layer_rngs), self.count, rngs)
        self.final_norm = make_norm(config)

    def __call__(
        self,
        embedded: Float[Array, "batch length embed"],
        segment_ids: Int[Array, "batch length"],
        positions: Int[Array, "batch length"],
        dropout_keys: Key[Array, " batch"] | None,
        encoded: Float[Array, "batch keys embed"] | None = None,
        encoded_segment_ids: Int[Array, "batch keys"] | None = None,
    ) -> Float[Array, "batch length embed"]:
        config = self.config
        own_keys, layer_keys = split_keys(dropout_keys, 2)
        x = dropout(embedded, config.dropout_rate, own_keys)

        def apply_to(rows: Any) -> Callable[[_Layer, Array, Array], Array]:
            segment_ids, positions, keys, encoded, encoded_segment_ids = rows
            mask = attention_mask(segment_ids, positions, jnp.zeros_like(positions) if self.is_decoder else None)
            crossed = None if encoded_segment_ids is None else View(same_segment(segment_ids, encoded_segment_ids))
            # Tokens of a segment stand together, so that one bias is of all rows; its gradient is summed over them.
            places = jnp.arange(positions.shape[1])[None]
            bias = self._bias(places, places)
            views = make_views(config, mask, positions, causal=self.is_decoder, bias=bias)
            return lambda layer, x, index: layer(x, fold_keys(keys, index), views.of_layer(index), encoded, crossed)

        rows = (segment_ids, positions, layer_keys, encoded, encoded_segment_ids)
        return self.final_norm(run_layers(self.layers, x, rows, apply_to, config))

    def step(
        self, embedded: Float[Array, "batch 1 embed"], position: Int[Array, ""], cache: DecodingCache
    ) -> tuple[Float[Array, "batch 1 embed"], DecodingCache]:
        """Returns the decoder's state at one target a row, and the cache with it."""
        rows, length = len(embedded), cache.own[0].shape[2]
        keys, here = jnp.arange(length)[None], position[None, None]
        mask = jnp.broadcast_to(keys <= position, (rows, length))[:, None, None]
        bias = self._bias(here, keys)
        views = make_views(self.config, mask, here, causal=True, key_positions=keys, bias=bias)
        cross_view = View(cache.input_mask[:, None, None])

        def apply(layer: _Layer, carry: Any, per_layer: Any) -> Any:
            index, crossed = per_layer
            return layer.step(carry, index, position, views.of_layer(index), crossed, cross_view)

        per_layer = (jnp.arange(self.count), cache.crossed)
        x, own = scan_layers(self.layers, (embedded, cache.own), apply, per_layer, "none")
        return self.final_norm(x), cache._replace(own=own)

    def crossed(self, encoded: Float[Array, "batch keys embed"]) -> KeysAndValues:
        """Returns the keys and values that each layer attends to across."""

        def of_layer(_: None, state: Any) -> tuple[None, OfLayer]:
            layer: Any = nnx.merge(graphdef, state)
            return None, layer.cross_attention.keys_and_values(encoded, None)

        graphdef, state = nnx.split(self.layers)
        return jax.lax.scan(of_layer, None, state)[1]

    def _bias(
        self, query_positions: Int[Array, "batch length"], key_positions: Int[Array, "batch keys"]
    ) -> Float[Array, "batch heads length keys"] | None:
        return None if self.config.rotates else self.position_bias(query_positions, key_positions)


class EncoderDecoder(nnx.Module):
    """Input ids and the targets before each place to states that predict the target there, and to its logits."""

    def __init__(self, config: EncoderDecoderConfig, rngs: nnx.Rngs):
        self.config = config
        shape, axes = (config.vocab_size, config.width), ("vocab", "embed")
        self.embedding = normal_parameter(rngs, shape, axes, 1.0)
        self.encoder = _Stack(config, False, rngs)
        self.decoder = _Stack(config, True, rngs)
        if not config.tied_logits:
            self.output_embedding = normal_parameter(rngs, shape, axes, config.base_width**-0.5)

    def __call__(
        self,
        inputs: Int[Array, "batch length"],
        segment_ids: Int[Array, "batch length"],
        positions: Int[Array, "batch length"],
        decoder_inputs: Int[Array, "batch target_length"],
        target_segment_ids: Int[Array, "batch target_length"],
        target_positions: Int[Array, "batch target_length"],
        dropout_keys: Key[Array, " batch"] | None = None,
    ) -> Float[Array, "batch target_length embed"]:
        """Returns decoder states; each packed segment gets what it would get alone.

        Args:
          inputs: token ids.
          segment_ids: 1, 2, ... for the packed examples of a row; 0 for padding.
          positions: 0, 1, ... within each segment, whose tokens stand together in this order.
          decoder_inputs: targets shifted right by one within each segment, which starts with id 0 (padding).
          target_segment_ids: of the targets; targets see the inputs that have the same number.
          target_positions: as `positions`, of the targets.
          dropout_keys: of each row; None for evaluation.
        """
        encoder_keys, decoder_keys = split_keys(dropout_keys if self.config.dropout_rate else None, 2)
        encoded = self.encode(inputs, segment_ids, positions, encoder_keys)
        return self.decoder(
            self._embed(decoder_inputs), target_segment_ids, target_positions, decoder_keys, encoded, segment_ids
        )

    def encode(
        self,
        inputs: Int[Array, "batch length"],
        segment_ids: Int[Array, "batch length"],
        positions: Int[Array, "batch length"],
        dropout_keys: Key[Array, " batch"] | None = None,
    ) -> Float[Array, "batch length embed"]:
        """Returns the encoder's states of the inputs; arguments as of a call."""
        return self.encoder(self._embed(inputs), segment_ids, positions, dropout_keys)

    def start(
        self, inputs: Int[Array, "batch length"], segment_ids: Int[Array, "batch length"], length: int
    ) -> tuple[Int[Array, " batch"], DecodingCache]:
        """Returns what stands before the first target of each row, 0, and the cache for writing up to `length` targets.

        Args:
          inputs: token ids, one example a row.
          segment_ids: 1 for tokens, 0 for padding after them.
          length: the most targets.
        """
        config, rows = self.config, len(inputs)
        positions = jnp.broadcast_to(jnp.arange(inputs.shape[1]), inputs.shape)
        crossed = self.decoder.crossed(self.encode(inputs, segment_ids, positions))
        shape = (config.decoder_layers, rows, length, config.key_value_heads, config.head_size)
        own = empty_keys_and_values(*shape, config.compute_dtype)
        return jnp.zeros(rows, jnp.int32), DecodingCache(own, segment_ids > 0, crossed)

    def step(
        self, tokens: Int[Array, " batch"], position: Int[Array, ""], cache: DecodingCache
    ) -> tuple[Float[Array, "batch vocab"], DecodingCache]:
        """Returns the logits of the target at `position` of each row, given the one before it, and the cache with it.

        Args:
          tokens: the target before `position`; at the first, from `start`.
          position: the same in all rows.
          cache: from `start`, or of the position before.
        """
        hidden, cache = self.decoder.step(self._embed(tokens[:, None]), position, cache)
        return self.logits(hidden)[:, 0], cache

    def logits(self, hidden: Float[Array, "batch length embed"]) -> Float[Array, "batch length vocab"]:
        """Returns float32 logits of decoder states; for large vocabularies call it on a few positions at a time."""
        config = self.config
        kernel = self.embedding if config.tied_logits else self.output_embedding
        if config.tied_logits:
            hidden = hidden * jnp.asarray(config.base_width**-0.5, hidden.dtype)
        return token_logits(hidden, kernel[...], config)

    def _embed(self, tokens: Int[Array, "batch length"]) -> Float[Array, "batch length embed"]:
        return embed_tokens(self.embedding[...], tokens, self.config.compute_dtype)
