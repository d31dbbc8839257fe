"""Building blocks: parameters with logical axes, norms, gated MLP, dropout.

Parameters are float32 and carry `logical_axes`, one name a dimension (see `partitioning.rules`). Products run in the
configuration's `dtype` (`m5jax.models.products`); norms and softmax always in float32.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from m5jax.models.low_rank import MLP_TARGETS, LowRankAdapters, add_adapters, project
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
        return _normalize(x, self.scale[...], self.epsilon)


# Recomputed in the backward pass: keeping every elementwise intermediate costs more memory traffic than it saves.
_cheap_to_recompute = functools.partial(jax.checkpoint, prevent_cse=False)


@functools.partial(_cheap_to_recompute, static_argnums=2)
def _normalize(x: jax.Array, scale: jax.Array, epsilon: float) -> jax.Array:
    x32 = x.astype(jnp.float32)
    centered = x32 - jnp.mean(x32, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centered), axis=-1, keepdims=True)
    return (centered * jax.lax.rsqrt(variance + epsilon) * scale).astype(x.dtype)


class RmsNorm(nnx.Module):
    """Root-mean-square norm of the last axis, with a scale and no bias (arXiv 1910.07467), computed in float32."""

    def __init__(self, width: int, epsilon: float, axis: str = "embed"):
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones((width,), jnp.float32), logical_axes=(axis,))

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        return _root_mean_square_normalize(x, self.scale[...], self.epsilon)


@functools.partial(_cheap_to_recompute, static_argnums=2)
def _root_mean_square_normalize(x: jax.Array, scale: jax.Array, epsilon: float) -> jax.Array:
    x32 = x.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(x32), axis=-1, keepdims=True)
    return (x32 * jax.lax.rsqrt(mean_square + epsilon) * scale).astype(x.dtype)


NORMS: dict[str, Callable[[int, float], LayerNorm | RmsNorm]] = {"layer": LayerNorm, "rms": RmsNorm}


def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns `x Phi(x)` (arXiv 1606.08415), computed in float32 by erf, which XLA evaluates faster than erfc."""
    x32 = x.astype(jnp.float32)
    return (0.5 * x32 * (1.0 + jax.lax.erf(x32 * math.sqrt(0.5)))).astype(x.dtype)


def tanh_gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns the tanh approximation of GELU (arXiv 1606.08415, section 2), T5's, computed in float32."""
    return jax.nn.gelu(x.astype(jnp.float32), approximate=True).astype(x.dtype)


def silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns `x sigmoid(x)` (arXiv 1606.08415, section 2), computed in float32."""
    return jax.nn.silu(x.astype(jnp.float32)).astype(x.dtype)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {"gelu": gelu, "gelu_tanh": tanh_gelu, "silu": silu}


@functools.partial(_cheap_to_recompute, static_argnums=2)
def _gated(up: jax.Array, gate: jax.Array, activation: Callable[[jax.Array], jax.Array]) -> jax.Array:
    return activation(up) * gate


class GatedMlp(nnx.Module):
    """`(activation(x up) * (x gate)) down` (arXiv 2002.05202), without biases."""

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: Callable[[jax.Array], jax.Array],
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        *,
        output_stddev: float,
        adapters: LowRankAdapters | None = None,
    ):
        self.dtype = dtype
        self.activation = activation
        self.up = normal_parameter(rngs, (width, hidden), ("embed", "mlp"), width**-0.5)
        self.gate = normal_parameter(rngs, (width, hidden), ("embed", "mlp"), width**-0.5)
        self.down = normal_parameter(rngs, (hidden, width), ("mlp", "embed"), output_stddev)
        add_adapters(self, adapters, MLP_TARGETS, rngs)

    def __call__(self, x: Float[Array, "batch length embed"]) -> Float[Array, "batch length embed"]:
        up = constrain(project(self, "up", x), "batch", "length", "mlp")
        gate = constrain(project(self, "gate", x), "batch", "length", "mlp")
        return project(self, "down", _gated(up, gate, self.activation))


def embed_tokens(
    table: Float[Array, "vocab embed"], tokens: Int[Array, "batch length"], dtype: jnp.dtype
) -> Float[Array, "batch length embed"]:
    """Returns the rows of a table that tokens name."""
    # Looked up where the table is split over its columns, then exchanged between these devices: in one step XLA would
    # first make all rows of the batch on each device of a mesh with replicas.
    looked_up = constrain(table.astype(dtype)[tokens], "replicas", "length", "embed")
    return constrain(looked_up, "batch", "length", "embed")


def dropout(
    x: Float[Array, "batch *shape"], rate: float, keys: Key[Array, " batch"] | None
) -> Float[Array, "batch *shape"]:
    """Zeroes entries with probability `rate` and rescales the rest; without keys (evaluation) returns `x`.

    What becomes of a row follows from its own key, in whatever batch or part of one it stands.
    """
    if keys is None or rate == 0.0:
        return x
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate, x.shape[1:]))(keys)
    return jnp.where(kept, x / (1.0 - rate), jnp.zeros_like(x))


def split_keys(keys: Key[Array, " batch"] | None, count: int) -> tuple[Key[Array, " batch"] | None, ...]:
    """Returns several keys of each row for one."""
    if keys is None:
        return (None,) * count
    split = jax.vmap(lambda key: jax.random.split(key, count))(keys)
    return tuple(split[:, index] for index in range(count))


def fold_keys(keys: Key[Array, " batch"] | None, number: Int[Array, ""]) -> Key[Array, " batch"] | None:
    """Returns each row's key for a layer."""
    return None if keys is None else jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, number)
