"""The decoder: Llama 3's arrangement, so that weights go to and from it without loss.

Token embedding, then per layer `x + attention(norm(x))` and `x + mlp(norm(x))`, a final norm; root-mean-square norms,
rotary positions, keys and values shared by groups of query heads, SwiGLU, no biases (arXiv 2407.21783, table 3). With
`query_key_norm` it is Qwen3's (arXiv 2505.09388).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from m5jax.errors import check_least
from m5jax.models.decoding_cache import DecodingCache, KeysAndValues, empty_keys_and_values, put_keys_and_values
from m5jax.models.dot_product_attention import attention_mask
from m5jax.models.heads import token_logits
from m5jax.models.layer_parts import make_attention, make_mlp, make_norm
from m5jax.models.layers import dropout, embed_tokens, fold_keys, normal_parameter, split_keys
from m5jax.models.rotary import LongContext
from m5jax.models.settings import ModelSettings
from m5jax.models.stack import run_layers, scan_layers, stack_layers
from m5jax.models.views import View, Views, describe_stack, make_views
from partitioning import constrain
from partitioning.workload import Stack


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderConfig(ModelSettings):
    """Shape and numerics of a decoder, as `ModelSettings` and:

    Attributes:
      layers: transformer layers.
      max_length: longest sequence, in tokens, with what is written.
      bidirectional_prefix: tokens attend to all of the inputs, not only to those before (prefix LM, arXiv 1910.10683,
        section 3.2.3), and near tokens are half before, half after; else what a batch says of it is ignored.
      tied_logits: logits come from the embedding, else from a matrix of their own.
      long_context: how rotations are slowed down for long sequences, in layers that see all; None: they are not.
    """

    layers: int
    max_length: int = 8192
    bidirectional_prefix: bool = False
    activation: str = "silu"
    rotary_theta: float = 500_000.0
    norm_epsilon: float = 1e-5
    tied_logits: bool = False
    long_context: LongContext | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, max_length=1)
        self.check_layers(("layers",))

    def make(self, rngs: nnx.Rngs) -> "Decoder":
        return Decoder(self, rngs)

    def stacks(self, length: float, predicted: float) -> tuple[Stack, ...]:
        return (describe_stack(self, "layers", self.layers, length, causal=not self.bidirectional_prefix),)


class _Layer(nnx.Module):
    """Pre-norm self-attention and gated MLP."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        self.dropout_rate = config.dropout_rate
        shrink = (2 * config.layers) ** -0.5  # as in the encoder
        self.attention_norm = make_norm(config)
        self.attention = make_attention(config, rngs, shrink=shrink)
        self.mlp_norm = make_norm(config)
        self.mlp = make_mlp(config, rngs, shrink=shrink)

    def __call__(
        self, x: Float[Array, "batch length embed"], keys: Key[Array, " batch"] | None, view: View
    ) -> Float[Array, "batch length embed"]:
        attention_keys, mlp_keys = split_keys(keys, 2)
        normed = self.attention_norm(x)
        x = x + dropout(self.attention(normed, normed, view), self.dropout_rate, attention_keys)
        x = x + dropout(self.mlp(self.mlp_norm(x)), self.dropout_rate, mlp_keys)
        return constrain(x, "batch", "length", "embed")

    def extend(
        self, carry: tuple[Array, KeysAndValues], index: Int[Array, ""], position: Int[Array, ""] | int, view: View
    ) -> tuple[Array, KeysAndValues]:
        """Returns the states of further tokens, [batch, length, embed], and the cache with their keys and values."""
        x, own = carry
        normed = self.attention_norm(x)
        new = self.attention.keys_and_values(normed, view.rotation)
        own, (key, value) = put_keys_and_values(own, new, index, position)
        x = x + self.attention.attend(normed, key, value, view)
        return x + self.mlp(self.mlp_norm(x)), own


class Decoder(nnx.Module):
    """Token ids to states that predict the token after each, and to its logits."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        self.config = config
        shape, axes = (config.vocab_size, config.width), ("vocab", "embed")
        self.embedding = normal_parameter(rngs, shape, axes, config.base_width**-0.5)
        self.layers = stack_layers(lambda layer_rngs: _Layer(config, layer_rngs), config.layers, rngs)
        self.final_norm = make_norm(config)
        if not config.tied_logits:
            self.output_embedding = normal_parameter(rngs, shape, axes, config.base_width**-0.5)

    def __call__(
        self,
        inputs: Int[Array, "batch length"],
        segment_ids: Int[Array, "batch length"],
        positions: Int[Array, "batch length"],
        dropout_keys: Key[Array, " batch"] | None = None,
        bidirectional: Int[Array, "batch length"] | None = None,
    ) -> Float[Array, "batch length embed"]:
        """Returns token states; each packed segment gets what it would get alone.

        Args:
          inputs: token ids.
          segment_ids: 1, 2, ... for the packed examples of a row; 0 for padding.
          positions: 0, 1, ... within each segment.
          dropout_keys: of each row; None for evaluation.
          bidirectional: 1 for tokens of inputs, 0 for those that are written; None: there are no inputs. Read with
            `bidirectional_prefix` only.
        """
        config = self.config
        x = self._embed(inputs)
        own_keys, layer_keys = split_keys(dropout_keys if config.dropout_rate else None, 2)
        x = dropout(x, config.dropout_rate, own_keys)

        def apply_to(rows: Any) -> Callable[[_Layer, Array, Array], Array]:
            segment_ids, positions, bidirectional, keys = rows
            views = self._views(self._mask(segment_ids, positions, bidirectional), positions)
            return lambda layer, x, index: layer(x, fold_keys(keys, index), views.of_layer(index))

        x = run_layers(self.layers, x, (segment_ids, positions, bidirectional, layer_keys), apply_to, config)
        return self.final_norm(x)

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
        shape = (config.layers, rows, inputs_length + length, config.key_value_heads, config.head_size)
        own = empty_keys_and_values(*shape, config.compute_dtype)
        positions = jnp.broadcast_to(jnp.arange(inputs_length), inputs.shape)
        mask = self._mask(segment_ids, positions, segment_ids)
        # What is not written yet is masked, so that its position does not matter.
        mask, key_positions = (jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, length)]) for x in (mask, positions))
        _, own = self._extend(self._embed(inputs), 0, self._views(mask, positions, key_positions), own)
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
        places = jnp.broadcast_to(jnp.arange(cache.own[0].shape[2]), (rows, cache.own[0].shape[2]))
        inputs, targets = places[:, :inputs_length], places[:, : places.shape[1] - inputs_length]
        counts = jnp.sum(cache.input_mask, axis=1, keepdims=True)
        mask = jnp.concatenate([cache.input_mask, targets <= position], axis=1)
        key_positions = jnp.concatenate([inputs, counts + targets], axis=1)
        views = self._views(mask[:, None, None], counts + position, key_positions)
        x, own = self._extend(self._embed(tokens[:, None]), inputs_length + position, views, cache.own)
        return self.logits(self.final_norm(x))[:, 0], cache._replace(own=own)

    def logits(self, hidden: Float[Array, "batch length embed"]) -> Float[Array, "batch length vocab"]:
        """Returns float32 logits of token states; for large vocabularies call it on a few positions at a time."""
        kernel = self.embedding if self.config.tied_logits else self.output_embedding
        return token_logits(hidden, kernel[...], self.config)

    def _extend(
        self,
        embedded: Float[Array, "batch length embed"],
        place: Int[Array, ""] | int,
        views: Views,
        own: KeysAndValues,
    ) -> tuple[Float[Array, "batch length embed"], KeysAndValues]:
        """Returns the states of further tokens, before the final norm, and the cached keys and values with theirs from
        `place` on."""

        def apply(layer: _Layer, carry: Any, index: Any) -> Any:
            return layer.extend(carry, index, place, views.of_layer(index))

        return scan_layers(self.layers, (embedded, own), apply, jnp.arange(self.config.layers), "none")

    def _views(
        self,
        mask: Bool[Array, "batch 1 length keys"],
        positions: Int[Array, "batch length"],
        key_positions: Int[Array, "batch keys"] | None = None,
    ) -> Views:
        config = self.config
        return make_views(
            config,
            mask,
            positions,
            causal=not config.bidirectional_prefix,
            key_positions=key_positions,
            long_context=config.long_context,
        )

    def _mask(
        self,
        segment_ids: Int[Array, "batch length"],
        positions: Int[Array, "batch length"],
        bidirectional: Int[Array, "batch length"] | None,
    ) -> Bool[Array, "batch 1 length length"]:
        if bidirectional is None or not self.config.bidirectional_prefix:
            bidirectional = jnp.zeros_like(positions)
        return attention_mask(segment_ids, positions, bidirectional)

    def _embed(self, tokens: Int[Array, "batch length"]) -> Float[Array, "batch length embed"]:
        return embed_tokens(self.embedding[...], tokens, self.config.compute_dtype)
