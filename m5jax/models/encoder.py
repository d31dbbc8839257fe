"""The encoder: ModernBERT's arrangement, so that weights export to it without loss.

Token embedding, norm, then per layer `x + attention(norm(x))` and `x + mlp(norm(x))` (no norm before the first
attention), a final norm; rotary positions; no biases (arXiv 2412.13663). All layers see all tokens, or only some do and
those between see near ones.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from m5jax.errors import UserError, check_least
from m5jax.models.dot_product_attention import attention_mask
from m5jax.models.heads import POOLINGS, MaskedLanguageModelHead, pool
from m5jax.models.layer_parts import make_attention, make_mlp, make_norm
from m5jax.models.layers import dropout, embed_tokens, fold_keys, normal_parameter, split_keys
from m5jax.models.settings import ModelSettings
from m5jax.models.stack import remat_cycle, run_layers, stack_layers
from m5jax.models.views import View, describe_stack, make_views
from partitioning import constrain
from partitioning.workload import Stack


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig(ModelSettings):
    """Shape and numerics of an encoder, as `ModelSettings` and:

    Attributes:
      layers: transformer layers.
      max_length: longest sequence, in tokens.
      logit_bias: masked-LM logits have a bias a piece (ModernBERT).
      pooling: how `embed` makes one vector of a sequence's states: "mean", "max" or "first".
      frozen_layers: so many of the first layers, and the embedding, are constants: no gradient passes them.
    """

    layers: int
    max_length: int = 512
    norm: str = "layer"
    norm_epsilon: float = 1e-5
    logit_bias: bool = False
    pooling: str = "mean"
    frozen_layers: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, max_length=1)
        self.check_layers(("layers",))
        self.check_choice("pooling", POOLINGS)
        if not 0 <= self.frozen_layers <= self.layers or self.frozen_layers % len(remat_cycle(self.remat)):
            raise UserError(
                f"EncoderConfig.frozen_layers = {self.frozen_layers}; allowed: 0 to {self.layers}, a multiple of the "
                "policies of remat"
            )

    def make(self, rngs: nnx.Rngs) -> "Encoder":
        return Encoder(self, rngs)

    @property
    def has_dense_head(self) -> bool:
        return True

    def stacks(self, length: float, predicted: float) -> tuple[Stack, ...]:
        return (describe_stack(self, "layers", self.layers, length, causal=False),)


class EncoderLayer(nnx.Module):
    """Pre-norm self-attention and gated MLP."""

    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        self.dropout_rate = config.dropout_rate
        # Outputs into the residual stream shrink with depth (GPT-2), so that its variance at the top does not grow.
        shrink = (2 * config.layers) ** -0.5
        self.attention_norm = make_norm(config)
        self.attention = make_attention(config, rngs, shrink=shrink)
        self.mlp_norm = make_norm(config)
        self.mlp = make_mlp(config, rngs, shrink=shrink)

    def __call__(
        self,
        x: Float[Array, "batch length embed"],
        index: Int[Array, ""],
        keys: Key[Array, " batch"] | None,
        view: View,
    ) -> Float[Array, "batch length embed"]:
        attention_keys, mlp_keys = split_keys(keys, 2)
        # The embedding's own norm already stands before the first attention.
        normed = jnp.where(index == 0, x, self.attention_norm(x))
        x = x + dropout(self.attention(normed, normed, view), self.dropout_rate, attention_keys)
        x = x + dropout(self.mlp(self.mlp_norm(x)), self.dropout_rate, mlp_keys)
        return constrain(x, "batch", "length", "embed")


class Encoder(nnx.Module):
    """Token ids to token states, masked-LM logits, or one embedding a sequence."""

    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        self.config = config
        shape = (config.vocab_size, config.width)
        self.embedding = normal_parameter(rngs, shape, ("vocab", "embed"), config.base_width**-0.5)
        self.embedding_norm = make_norm(config)
        self.layers = stack_layers(lambda layer_rngs: EncoderLayer(config, layer_rngs), config.layers, rngs)
        self.final_norm = make_norm(config)
        self.masked_lm_head = MaskedLanguageModelHead(config, config.logit_bias, rngs)

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
          bidirectional: 1 for tokens that all of their segment may attend to, 0 for those that only later ones may;
            None: all are.
        """
        config = self.config
        x = self.token_embeddings(inputs)
        own_keys, layer_keys = split_keys(dropout_keys if config.dropout_rate else None, 2)
        x = dropout(x, config.dropout_rate, own_keys)

        def apply_to(rows: Any) -> Callable[[EncoderLayer, Array, Array], Array]:
            segment_ids, positions, bidirectional, keys = rows
            views = make_views(config, attention_mask(segment_ids, positions, bidirectional), positions, causal=False)
            return lambda layer, x, index: layer(x, index, fold_keys(keys, index), views.of_layer(index))

        rows, frozen = (segment_ids, positions, bidirectional, layer_keys), config.frozen_layers
        if frozen:
            x = jax.lax.stop_gradient(run_layers(self.layers, x, rows, apply_to, config, slice(0, frozen)))
        return self.final_norm(run_layers(self.layers, x, rows, apply_to, config, slice(frozen or None, None)))

    def token_embeddings(self, inputs: Int[Array, "batch length"]) -> Float[Array, "batch length embed"]:
        """Returns tokens without their context, normed; a constant where the first layers are frozen."""
        x = self.embedding_norm(embed_tokens(self.embedding[...], inputs, self.config.compute_dtype))
        return jax.lax.stop_gradient(x) if self.config.frozen_layers else x

    def logits(self, hidden: Float[Array, "batch length embed"]) -> Float[Array, "batch length vocab"]:
        """Returns float32 logits of token states; call it on those that are predicted only."""
        return self.masked_lm_head(hidden, self.embedding[...])

    def states(
        self,
        inputs: Int[Array, "batch length"],
        segment_ids: Int[Array, "batch length"],
        dropout_keys: Key[Array, " batch"] | None = None,
    ) -> Float[Array, "batch length embed"]:
        """Returns token states of rows of one example each (not packed)."""
        positions = jnp.broadcast_to(jnp.arange(inputs.shape[1]), inputs.shape)
        return self(inputs, segment_ids, positions, dropout_keys)

    def embed(
        self,
        inputs: Int[Array, "batch length"],
        segment_ids: Int[Array, "batch length"],
        dropout_keys: Key[Array, " batch"] | None = None,
    ) -> Float[Array, "batch embed"]:
        """Returns one float32 embedding a row of one example, by the configured pooling."""
        return pool(self.states(inputs, segment_ids, dropout_keys), segment_ids, self.config.pooling)
