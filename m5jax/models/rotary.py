"""Rotary position embedding (arXiv 2104.09864): queries and keys are turned by angles that grow with the position."""

import dataclasses
import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from m5jax.errors import UserError

Rotation = tuple[Float[Array, "#batch length half"], Float[Array, "#batch length half"]]


@dataclasses.dataclass(frozen=True)
class LongContext:
    """Slows slow rotations down, so that a model goes on beyond the length it was trained at (Llama 3.1).

    As in transformers, `modeling_rope_utils.py::_compute_llama3_parameters`. Rotations of more than `high_frequency`
    turns in `trained_length` tokens stay, those of less than `low_frequency` become `factor` times slower, those
    between change smoothly.

    Attributes:
      factor: above 1.
      low_frequency, high_frequency: turns, the second the larger.
      trained_length: tokens.
    """

    factor: float = 8.0
    low_frequency: float = 1.0
    high_frequency: float = 4.0
    trained_length: int = 8192

    def __post_init__(self) -> None:
        if self.factor <= 1 or not 0 < self.low_frequency < self.high_frequency or self.trained_length < 1:
            raise UserError(
                f"LongContext(factor={self.factor}, low_frequency={self.low_frequency}, "
                f"high_frequency={self.high_frequency}, trained_length={self.trained_length}); allowed: a factor above "
                "1, 0 < low_frequency < high_frequency, a positive length"
            )

    def slowed(self, frequencies: Float[Array, " half"]) -> Float[Array, " half"]:
        """Returns the frequencies, radians a token, slowed."""
        turns = self.trained_length * frequencies / (2 * math.pi)
        kept = (turns - self.low_frequency) / (self.high_frequency - self.low_frequency)
        return frequencies * (1 / self.factor + jnp.clip(kept, 0.0, 1.0) * (1 - 1 / self.factor))


def rotary_angles(
    positions: Int[Array, "batch length"], head_dim: int, theta: float, scaling: LongContext | None = None
) -> Rotation:
    """Returns cosines and sines of the rotary embedding (arXiv 2104.09864, section 3.4), float32."""
    frequencies = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    if scaling is not None:
        frequencies = scaling.slowed(frequencies)
    angles = positions[..., None].astype(jnp.float32) * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def rotate(
    x: Float[Array, "batch length heads head_dim"], rotation: Rotation
) -> Float[Array, "batch length heads head_dim"]:
    """Rotates the pairs (i, i + head_dim/2), the order Hugging Face models store."""
    cosine, sine = (angle[:, :, None, :].astype(x.dtype) for angle in rotation)
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
