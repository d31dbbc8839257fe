"""One sequence to its class, a number, and the tag of each token."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from m5jax.errors import UserError
from m5jax.models.comparison import Comparison, item_numbers
from m5jax.models.encoder import EncoderConfig
from m5jax.models.heads import pool
from m5jax.models.layers import dropout, gelu, normal_parameter, split_keys
from m5jax.models.products import linear


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """Shape of a classifier.

    Attributes:
      encoder: of the sequence.
      classes: of a sequence; 1: one logit, of a yes or a number; 0: sequences have none.
      tags: of a token; 0: tokens have none.
      item_end: id of the token that ends each item of a sequence, whose items are then compared token by token; None:
        they are not.
    """

    encoder: EncoderConfig
    classes: int = 1
    tags: int = 0
    item_end: int | None = None

    def __post_init__(self) -> None:
        if self.classes < 0 or self.tags < 0 or not self.classes + self.tags:
            raise UserError(
                f"ClassifierConfig.classes = {self.classes}, tags = {self.tags}; one of them must be 1 or more"
            )

    def make(self, rngs: nnx.Rngs) -> "Classifier":
        return Classifier(self, rngs)

    @property
    def width_multiple(self) -> float:
        return self.encoder.width_multiple


class ClassLogits(NamedTuple):
    """What a classifier says; None where it has no such classes."""

    classes: Float[Array, "batch classes"] | None
    tags: Float[Array, "batch length tags"] | None


class Classifier(nnx.Module):
    """An encoder with a hidden layer and an output of classes, and an output of tags (BERT, arXiv 1810.04805)."""

    def __init__(self, config: ClassifierConfig, rngs: nnx.Rngs):
        self.config = config
        self.encoder = config.encoder.make(rngs)
        width = config.encoder.width
        if config.classes:
            self.dense = normal_parameter(rngs, (width, width), ("embed", "mlp"), width**-0.5)
            if config.item_end is not None:
                self.comparison = Comparison(width, rngs)
            self.output = Output(width, config.classes, rngs)
        if config.tags:
            self.tag_output = Output(width, config.tags, rngs)

    def __call__(
        self,
        inputs: Int[Array, "batch length"],
        segment_ids: Int[Array, "batch length"],
        dropout_keys: Key[Array, " batch"] | None = None,
    ) -> ClassLogits:
        """Returns float32 logits of rows of one example each."""
        rate = self.config.encoder.dropout_rate
        encoder_keys, pooled_keys, tag_keys = split_keys(dropout_keys, 3)
        states = self.encoder.states(inputs, segment_ids, encoder_keys)
        classes = tags = None
        if self.config.classes:
            pooled = pool(states, segment_ids, self.config.encoder.pooling)
            hidden = linear(pooled, self.dense, jnp.dtype("float32"))
            if self.config.item_end is not None:
                items = item_numbers(inputs, segment_ids > 0, self.config.item_end)
                hidden += self.comparison(self.encoder.token_embeddings(inputs), states, items)
            classes = self.output(dropout(gelu(hidden), rate, pooled_keys))
        if self.config.tags:
            tags = self.tag_output(dropout(states.astype(jnp.float32), rate, tag_keys))
        return ClassLogits(classes, tags)


class Output(nnx.Module):
    """An affine map to float32 logits, near zero at first, so that no class is much likelier than another."""

    def __init__(self, width: int, classes: int, rngs: nnx.Rngs):
        self.kernel = normal_parameter(rngs, (width, classes), ("embed", "classes"), 0.02 * width**-0.5)
        self.bias = nnx.Param(jnp.zeros((classes,), jnp.float32), logical_axes=("classes",))

    def __call__(self, x: Float[Array, "*batch embed"]) -> Float[Array, "*batch classes"]:
        return linear(x, self.kernel, jnp.dtype("float32")) + self.bias[...]
