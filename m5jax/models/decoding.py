"""What a decoder keeps between the tokens that it writes."""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float

KeysAndValues = tuple[
    Float[Array, "layers batch keys heads head_dim"], Float[Array, "layers batch keys heads head_dim"]
]


class DecodingCache(NamedTuple):
    """Keys and values of each decoder layer.

    Attributes:
      own: of the targets so far; zeros from there on.
      crossed: of the inputs.
      input_mask: which inputs are no padding.
    """

    own: KeysAndValues
    crossed: KeysAndValues
    input_mask: Bool[Array, "batch keys"]

    @property
    def length(self) -> int:
        """The number of targets that there is room for."""
        return self.own[0].shape[2]
