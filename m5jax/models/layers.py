"""Building blocks: parameters with logical axes, layer norm, gated MLP, dropout.

Parameters are float32 and carry `logical_axes`, one name a dimension (see `partitioning.rules`). Products run in the
configuration's `dtype`; norms and softmax always in float32.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Key

from partitioning import constrain

TRUNCATION = 0.8796256610342398  # standard deviation of a normal truncated at 2, to which samples are rescaled


def normal_parameter(
    rngs: nnx.Rngs, shape: tuple[int, ...], logical_axes: tuple[str, ...], stddev: float
) -> nnx.Param[jax.Array]:
    """Returns a float32 parameter drawn from a normal truncated at two standard deviations."""
    sample = jax.random.truncated_normal(rngs.params(), -2.0, 2.0, shape, jnp.float32)
    return nnx.Param(sample * (stddev / TRUNCATION), logical_axes=logical_axes)


class LayerNorm(nnx.Module):
    """Layer norm with a scale and no bias (arXiv 1607.06450), computed in float32."""

    def __init__(self, width: int, epsilon: float):
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones((width,), jnp.float32), logical_axes=("embed",))

    def __call__(self, x: Float[Array, "*batch embed"]) -> Float[Array, "*batch embed"]:
        x32 = x.astype(jnp.float32)
        centered = x32 - jnp.mean(x32, axis=-1, keepdims=True)
        variance = jnp.mean(jnp.square(centered), axis=-1, keepdims=True)
        return (centered * jax.lax.rsqrt(variance + self.epsilon) * self.scale[...]).astype(x.dtype)


class GatedMlp(nnx.Module):
    """`(gelu(x up) * (x gate)) down` with the exact GELU (GeGLU, arXiv 2002.05202), without biases."""

    def __init__(self, width: int, hidden: int, output_stddev: float, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.dtype = dtype
        self.up = normal_parameter(rngs, (width, hidden), ("embed", "mlp"), width**-0.5)
        self.gate = normal_parameter(rngs, (width, hidden), ("embed", "mlp"), width**-0.5)
        self.down = normal_parameter(rngs, (hidden, width), ("mlp", "embed"), output_stddev)

    def __call__(self, x: Float[Array, "batch length embed"]) -> Float[Array, "batch length embed"]:
        up = constrain(x @ self.up[...].astype(self.dtype), "batch", "length", "mlp")
        gate = constrain(x @ self.gate[...].astype(self.dtype), "batch", "length", "mlp")
        hidden = jax.nn.gelu(up, approximate=False) * gate
        return checkpoint_name(hidden @ self.down[...].astype(self.dtype), "mlp_output")


def dropout(x: Float[Array, "*shape"], rate: float, key: Key[Array, ""] | None) -> Float[Array, "*shape"]:
    """Zeroes entries with probability `rate` and rescales the rest; without a key (evaluation) returns `x`."""
    if key is None or rate == 0.0:
        return x
    kept = jax.random.bernoulli(key, 1.0 - rate, x.shape)
    return jnp.where(kept, x / (1.0 - rate), jnp.zeros_like(x))
