"""The encoder: ModernBERT's arrangement, so that weights export to it without loss.

Token embedding, norm, then per layer `x + attention(norm(x))` and `x + mlp(norm(x))` (no norm before the first
attention), a final norm; rotary positions; no biases (arXiv 2412.13663). All layers see all tokens, or only some do and
those between see near ones.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from m5jax.errors import UserError
from m5jax.models.attention import Attention, attention_mask
from m5jax.models.heads import POOLINGS, MaskedLanguageModelHead, pool
from m5jax.models.layers import GatedMlp, LayerNorm, dropout, embedding_dropout, normal_parameter
from m5jax.models.maximal_update import MaximalUpdate
from m5jax.models.rotary import Rotation, rotary_angles
from m5jax.models.settings import ModelSettings
from m5jax.models.stack import scan_layers, stack_layers
from partitioning import constrain


@dataclasses.dataclass(frozen=True)
class EncoderConfig(ModelSettings):
    """Shape and numerics of an encoder.

    Attributes:
      vocab_size: rows of the embedding, at least the vocabulary's size.
      width: size of a token's state, a multiple of `heads`.
      layers: transformer layers.
      heads: attention heads; width / heads is even (rotary pairs).
      mlp_hidden: hidden units of the gated MLP.
      max_length: longest sequence, in tokens.
      dropout_rate: of the embedding and of each attention and MLP output.
      rotary_theta: base of the rotary frequencies.
      global_every: the first layer and every `global_every`-th after it see all tokens, the others `local_window`; 1:
        all see all. Scores are computed for all tokens either way.
      local_window: tokens, half of them on each side.
      local_rotary_theta: as `rotary_theta`, in layers that see near tokens.
      norm_epsilon: added to the variance in layer norms.
      pooling: how `embed` makes one vector of a sequence: "mean" or "first".
      dtype: of the products: "bfloat16", "float32", or "auto" (bfloat16 except on CPU).
      remat: what the backward pass keeps: "none" (keeps all), "dots", "outputs" or "full" (recomputes all).
      maximal_update: the model whose best rates are this one's too; None: the standard parametrization.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    mlp_hidden: int
    max_length: int = 512
    dropout_rate: float = 0.0
    rotary_theta: float = 10_000.0
    global_every: int = 1
    local_window: int = 128
    local_rotary_theta: float = 10_000.0
    norm_epsilon: float = 1e-5
    pooling: str = "mean"
    dtype: str = "auto"
    remat: str = "none"
    maximal_update: MaximalUpdate | None = None

    def __post_init__(self) -> None:
        self.check(
            ("vocab_size", "width", "layers", "heads", "mlp_hidden", "max_length", "global_every", "local_window"),
            ("rotary_theta", "local_rotary_theta", "norm_epsilon"),
        )
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise UserError(
                f"EncoderConfig.width = {self.width} does not split into {self.heads} heads of an even size, "
                "which rotary positions need"
            )
        self.check_choice("pooling", POOLINGS)

    @property
    def head_dim(self) -> int:  # type: ignore[override]
        return self.width // self.heads

    def make(self, rngs: nnx.Rngs) -> "Encoder":
        return Encoder(self, rngs)

    def flops_per_token(self, length: int, predicted_fraction: float) -> float:
        """Returns FLOPs of forward and backward a token (three times the forward, without recomputation).

        Counts matrix products only: parameters, scores and weighted sums of attention over `length` keys, and the
        masked-LM head at `predicted_fraction` of the positions (arXiv 2204.02311, appendix B).
        """
        layer = 4 * self.width**2 + 3 * self.width * self.mlp_hidden + 2 * length * self.width
        head = self.width**2 + self.width * self.vocab_size
        return 6.0 * (self.layers * layer + predicted_fraction * head)


class EncoderLayer(nnx.Module):
    """Pre-norm self-attention and gated MLP."""

    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        self.dropout_rate = config.dropout_rate
        dtype = config.compute_dtype
        # Outputs into the residual stream shrink with depth (GPT-2), so that its variance at the top does not grow.
        shrink = (2 * config.layers) ** -0.5
        self.attention_norm = LayerNorm(config.width, config.norm_epsilon)
        self.attention = Attention(
            config.width,
            config.heads,
            config.head_dim,
            dtype,
            rngs,
            output_stddev=config.width**-0.5 * shrink,
            scale=config.attention_scale,
        )
        self.mlp_norm = LayerNorm(config.width, config.norm_epsilon)
        self.mlp = GatedMlp(config.width, config.mlp_hidden, config.mlp_hidden**-0.5 * shrink, dtype, rngs)

    def __call__(
        self,
        x: Float[Array, "batch length embed"],
        index: Int[Array, ""],
        key: Key[Array, ""] | None,
        rotation: Rotation,
        mask: Bool[Array, "batch 1 length length"],
    ) -> Float[Array, "batch length embed"]:
        attention_key, mlp_key = (None, None) if key is None else jax.random.split(key)
        # The embedding's own norm already stands before the first attention.
        normed = jnp.where(index == 0, x, self.attention_norm(x))
        x = x + dropout(self.attention(normed, normed, mask, rotation=rotation), self.dropout_rate, attention_key)
        x = x + dropout(self.mlp(self.mlp_norm(x)), self.dropout_rate, mlp_key)
        return constrain(x, "batch", "length", "embed")


class Encoder(nnx.Module):
    """Token ids to token states, masked-LM logits, or one embedding a sequence."""

    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        self.config = config
        width, epsilon, dtype = config.width, config.norm_epsilon, config.compute_dtype
        self.embedding = normal_parameter(rngs, (config.vocab_size, width), ("vocab", "embed"), config.base_width**-0.5)
        self.embedding_norm = LayerNorm(width, epsilon)
        self.layers = stack_layers(lambda layer_rngs: EncoderLayer(config, layer_rngs), config.layers, rngs)
        self.final_norm = LayerNorm(width, epsilon)
        self.masked_lm_head = MaskedLanguageModelHead(width, epsilon, dtype, rngs)

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
          bidirectional: 1 for tokens that all of their segment may attend to, 0 for those that only later ones may;
            None: all are.
        """
        config = self.config
        embedded = self.embedding[...].astype(config.compute_dtype)[inputs]
        x = self.embedding_norm(constrain(embedded, "batch", "length", "embed"))
        x, layer_keys = embedding_dropout(x, config.dropout_rate, dropout_key, config.layers)
        rotation = rotary_angles(positions, config.head_dim, config.rotary_theta)
        mask = attention_mask(segment_ids, positions, bidirectional)
        local = None
        if config.global_every > 1:
            local = rotary_angles(positions, config.head_dim, config.local_rotary_theta), mask & self._near(positions)

        def apply(layer: EncoderLayer, carry: Array, extra: Any) -> Array:
            index, key = extra
            if local is None:
                return layer(carry, index, key, rotation, mask)
            sees_all = index % config.global_every == 0
            of_layer = jax.tree.map(lambda *both: jnp.where(sees_all, *both), (rotation, mask), local)
            return layer(carry, index, key, *of_layer)

        x = scan_layers(self.layers, x, apply, (jnp.arange(config.layers), layer_keys), config.remat)
        return self.final_norm(x)

    def _near(self, positions: Int[Array, "batch length"]) -> Bool[Array, "batch 1 length length"]:
        distance = jnp.abs(positions[:, :, None] - positions[:, None, :])
        return (distance <= self.config.local_window // 2)[:, None]

    def logits(self, hidden: Float[Array, "batch length embed"]) -> Float[Array, "batch length vocab"]:
        """Returns float32 logits of token states; call it on those that are predicted only."""
        return self.masked_lm_head(hidden, self.embedding[...]) / self.config.width_multiple

    def embed(
        self, inputs: Int[Array, "batch length"], segment_ids: Int[Array, "batch length"]
    ) -> Float[Array, "batch embed"]:
        """Returns one float32 embedding a row, by the configured pooling, for rows of one example each (not packed)."""
        positions = jnp.broadcast_to(jnp.arange(inputs.shape[1]), inputs.shape)
        return pool(self(inputs, segment_ids, positions), segment_ids, self.config.pooling)
