"""What a model that writes keeps between the tokens that it writes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

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

    def take(self, rows: Int[Array, " batch"]) -> "DecodingCache":
        """Returns the cache whose rows have read what `rows`, of the same inputs, have."""
        return self._replace(own=jax.tree.map(lambda x: x[:, rows], self.own))


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
