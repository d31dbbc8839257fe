"""What a model that writes keeps between the tokens that it writes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from partitioning import constrain

KeysAndValues = tuple[
    Float[Array, "layers batch keys kv_heads head_dim"], Float[Array, "layers batch keys kv_heads head_dim"]
]
OfLayer = tuple[Float[Array, "batch length kv_heads head_dim"], Float[Array, "batch length kv_heads head_dim"]]


class DecodingCache(NamedTuple):
    """Keys and values of each decoder layer.

    Attributes:
      own: of what the decoder read so far; zeros from there on. A decoder without an encoder has its inputs here,
        before the targets.
      input_mask: which inputs are attended to.
      crossed: of the encoder's inputs.
    """

    own: KeysAndValues
    input_mask: Bool[Array, "batch inputs"]
    crossed: KeysAndValues | None = None

    def repeat(self, times: int) -> "DecodingCache":
        """Returns the cache with each row `times` times, one after the other."""
        own, crossed = jax.tree.map(lambda x: jnp.repeat(x, times, axis=1), (self.own, self.crossed))
        return DecodingCache(own, jnp.repeat(self.input_mask, times, axis=0), crossed)

    def take(self, beams: Int[Array, "groups beams"]) -> "DecodingCache":
        """Returns the cache of groups of rows with the same inputs, each of which goes on from another of its group."""
        groups, count = beams.shape
        # Inputs are alike in a group. Within groups, so that the rows of a device stay there.
        start = 0 if self.crossed is not None else self.input_mask.shape[1]
        places = beams.reshape(1, groups, count, 1, 1, 1)

        def taken(x: Array) -> Array:
            grouped = x[:, :, start:].reshape(x.shape[0], groups, count, x.shape[2] - start, *x.shape[3:])
            chosen = jnp.take_along_axis(grouped, places, axis=2)
            return jax.lax.dynamic_update_slice_in_dim(x, chosen.reshape(x[:, :, start:].shape), start, axis=2)

        return self._replace(own=jax.tree.map(taken, self.own))


def empty_keys_and_values(layers: int, rows: int, length: int, heads: int, head_dim: int, dtype: Any) -> KeysAndValues:
    """Returns zeros for `length` tokens of each row."""
    zeros = jnp.zeros((layers, rows, length, heads, head_dim), dtype)
    kept = constrain(zeros, "layers", "batch", "length", "kv_heads", "head_dim")
    return kept, kept


def put_keys_and_values(
    kept: KeysAndValues, new: OfLayer, layer: Int[Array, ""], position: Int[Array, ""] | int
) -> tuple[KeysAndValues, tuple[Array, Array]]:
    """Returns keys and values with a layer's new ones from a position on, and all of that layer.

    Written in place into those of all layers, which a cache a layer as the output of a scan is not.
    """
    start = (layer, 0, position, 0, 0)
    keys, values = (jax.lax.dynamic_update_slice(old, one[None], start) for old, one in zip(kept, new, strict=True))
    key, value = (jax.lax.dynamic_index_in_dim(all_layers, layer, keepdims=False) for all_layers in (keys, values))
    return (keys, values), (key, value)
