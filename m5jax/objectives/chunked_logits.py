"""Vocabulary logits of a few positions at a time, so that [batch, length, vocab] is never held."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

CHUNK_LENGTH = 32


def map_logits(
    module: Any,
    hidden: Float[Array, "batch length embed"],
    function: Callable[[Array, Array], Any],
    targets: Int[Array, "batch length"],
    chunk_length: int = CHUNK_LENGTH,
) -> Any:
    """Returns what `function` makes of the logits and targets of `chunk_length` positions at a time (0: of all
    together): arrays [batch, length]. Logits of chunks are made again in the backward pass."""
    if not chunk_length:
        return function(module.logits(hidden), targets)

    # The module's parameters are float32 and cast inside, so that their gradients add up over chunks in float32.
    @jax.checkpoint
    def of_chunk(chunk: tuple[Array, Array]) -> Any:
        states, chunk_targets = chunk
        return function(module.logits(states), chunk_targets)

    mapped = jax.lax.map(of_chunk, (_chunks(hidden, chunk_length), _chunks(targets, chunk_length)))
    rows, length = targets.shape
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(rows, -1)[:, :length], mapped)


def _chunks(x: Array, length: int) -> Array:
    """Returns [chunks, batch, chunk, ...] of [batch, length, ...], zeros at the end; rows stay on their devices."""
    chunk = min(length, x.shape[1])
    count = -(-x.shape[1] // chunk)
    padded = jnp.pad(x, [(0, 0), (0, count * chunk - x.shape[1])] + [(0, 0)] * (x.ndim - 2))
    return jnp.moveaxis(padded.reshape(x.shape[0], count, chunk, *x.shape[2:]), 1, 0)
