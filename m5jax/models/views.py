"""What the queries of a layer see: all tokens that they may, or near ones, and how positions turn them.

Layers that see near tokens compute scores of those only: queries are cut into blocks as long as they see, and each
attends to itself and its neighbours (arXiv 2004.05150, section 3.1).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from m5jax.models.dot_product_attention import dot_product_attention
from m5jax.models.rotary import LongContext, Rotation, rotary_angles
from m5jax.models.settings import ModelSettings
from partitioning.workload import Stack


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """Blocks of queries see themselves, the block before and, unless causal, the one after.

    Attributes:
      size: of a block, in tokens; at least as far as tokens see.
      causal: whether the block after is left out.
    """

    size: int
    causal: bool

    @classmethod
    def of_window(cls, window: int, causal: bool) -> "Neighbours":
        """Returns blocks for near tokens: `window` before, itself among them, or half of them on each side; even, as
        cuDNN's attention needs lengths to be."""
        size = window if causal else window // 2
        return cls(max(2, size + size % 2), causal)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Of the blocks that a block sees."""
        return (-1, 0) if self.causal else (-1, 0, 1)

    @property
    def keys(self) -> int:
        """That a query has scores of."""
        return len(self.offsets) * self.size

    def queries(self, x: Float[Array, "batch length heads head_dim"]) -> Float[Array, "blocks size heads head_dim"]:
        """Returns the queries of each block."""
        return self._cut(x).reshape(-1, self.size, *x.shape[2:])

    def keys_of(self, x: Float[Array, "batch length heads head_dim"]) -> Float[Array, "blocks keys heads head_dim"]:
        """Returns the keys, or values, that each block sees; 0 beyond the ends."""
        cut = self._cut(x)
        around = jnp.pad(cut, [(0, 0), (1, 1)] + [(0, 0)] * (cut.ndim - 2))
        seen = [around[:, 1 + offset : 1 + offset + cut.shape[1]] for offset in self.offsets]
        return jnp.concatenate(seen, axis=2).reshape(-1, self.keys, *x.shape[2:])

    def of_scores(self, x: Shaped[Array, "batch heads length length"]) -> Shaped[Array, "blocks heads size keys"]:
        """Returns a mask or bias of the keys that each block sees; 0, not seen, beyond the ends."""
        batch, heads, length, _ = x.shape
        count = -(-length // self.size)
        x = jnp.pad(x, [(0, 0), (0, 0)] + [(0, count * self.size - length)] * 2)
        x = x.reshape(batch, heads, count, self.size, count, self.size)
        blocks, seen = jnp.arange(count), []
        for offset in self.offsets:
            other = blocks + offset
            part = x[:, :, blocks, :, jnp.clip(other, 0, count - 1), :]  # [blocks, batch, heads, size, size]
            inside = (other >= 0) & (other < count)
            seen.append(jnp.where(inside[:, None, None, None, None], part, jnp.zeros_like(part)))
        return jnp.moveaxis(jnp.concatenate(seen, axis=-1), 0, 1).reshape(batch * count, heads, self.size, -1)

    def _cut(self, x: Float[Array, "batch length ..."]) -> Float[Array, "batch blocks size ..."]:
        count = -(-x.shape[1] // self.size)
        padded = jnp.pad(x, [(0, 0), (0, count * self.size - x.shape[1])] + [(0, 0)] * (x.ndim - 2))
        return padded.reshape(x.shape[0], count, self.size, *x.shape[2:])


@dataclasses.dataclass(frozen=True)
class Blocks:
    """What blocks of queries see of their neighbours."""

    neighbours: Neighbours
    mask: Bool[Array, "blocks 1 size keys"]
    bias: Float[Array, "blocks heads size keys"] | None

    def attend(
        self,
        query: Float[Array, "batch length heads head_dim"],
        key: Float[Array, "batch length kv_heads head_dim"],
        value: Float[Array, "batch length kv_heads head_dim"],
        scale: float,
    ) -> Float[Array, "batch length heads head_dim"]:
        """Returns the attention of queries to what their blocks see."""
        queries = self.neighbours.queries(query)
        keys, values = self.neighbours.keys_of(key), self.neighbours.keys_of(value)
        attended = dot_product_attention(queries, keys, values, self.mask, scale, self.bias)
        return attended.reshape(len(query), -1, *query.shape[2:])[:, : query.shape[1]]


@dataclasses.dataclass(frozen=True)
class View:
    """What the queries of one layer see.

    Attributes:
      mask: which keys each query does.
      bias: of the scores.
      rotation: of queries and keys by their positions.
      blocks: with them the layer sees near tokens if `is_near`, else what mask and bias say.
    """

    mask: Bool[Array, "batch 1 length keys"]
    bias: Float[Array, "#batch heads length keys"] | None = None
    rotation: Rotation | None = None
    blocks: Blocks | None = None
    is_near: Bool[Array, ""] | bool = False

    def attend(
        self,
        query: Float[Array, "batch length heads head_dim"],
        key: Float[Array, "batch keys kv_heads head_dim"],
        value: Float[Array, "batch keys kv_heads head_dim"],
        scale: float,
    ) -> Float[Array, "batch length heads head_dim"]:
        """Returns the attention of queries to the keys that they see; arguments as of `dot_product_attention`."""

        def to_all(query: Array, key: Array, value: Array) -> Array:
            return dot_product_attention(query, key, value, self.mask, scale, self.bias)

        if self.blocks is None:
            return to_all(query, key, value)
        to_near = functools.partial(self.blocks.attend, scale=scale)
        # Scores are computed again in the backward pass, which would else keep those of both, one of them as zeros.
        branches = (jax.checkpoint(branch, prevent_cse=False) for branch in (to_near, to_all))
        return jax.lax.cond(self.is_near, *branches, query, key, value)


@dataclasses.dataclass(frozen=True)
class Views:
    """Of all layers of a stack.

    Attributes:
      whole: of layers that see all that they may.
      local: of those that see near tokens, by their mask or by blocks; None: there are none.
      every: how many layers from one that sees all to the next.
    """

    whole: View
    local: View | None
    every: int

    def of_layer(self, index: Int[Array, ""]) -> View:
        """Returns the view of a layer."""
        if self.local is None:
            return self.whole
        is_near, whole, local = index % self.every != 0, self.whole, self.local
        rotation = jax.tree.map(lambda *both: jnp.where(is_near, *both), local.rotation, whole.rotation)
        if local.blocks is not None:
            return View(whole.mask, whole.bias, rotation, local.blocks, is_near)
        return View(jnp.where(is_near, local.mask, whole.mask), whole.bias, rotation)


def make_views(
    config: ModelSettings,
    mask: Bool[Array, "batch 1 length keys"],
    positions: Int[Array, "#batch length"],
    *,
    causal: bool,
    key_positions: Int[Array, "#batch keys"] | None = None,
    bias: Float[Array, "#batch heads length keys"] | None = None,
    long_context: LongContext | None = None,
) -> Views:
    """Returns the views of a stack of layers. Tokens of a segment stand together, in the order of their positions.

    Args:
      config: of the model.
      mask: which keys each query may see at all.
      positions: of the queries and of what they are turned with, 0, 1, ... within each segment.
      causal: near tokens are `local_window` before; else half of them on each side.
      key_positions: of all keys, where there are others; of those that are masked, anything.
      bias: of the scores.
      long_context: slows rotations, of layers that see all.
    """

    def rotation(theta: float, scaling: LongContext | None) -> Rotation | None:
        return rotary_angles(positions, config.head_size, theta, scaling) if config.rotates else None

    whole = View(mask, bias, rotation(config.rotary_theta, long_context))
    if config.global_every == 1:
        return Views(whole, None, 1)
    reach = config.local_window - 1 if causal else config.local_window // 2
    others = positions if key_positions is None else key_positions
    distance = jnp.abs(positions[:, :, None] - others[:, None, :])
    near_mask = mask & (distance <= reach)[:, None]
    local = View(near_mask, bias, rotation(config.local_rotary_theta, None))
    neighbours = Neighbours.of_window(config.local_window, causal)
    if key_positions is None and mask.shape[2] > neighbours.keys:
        if bias is not None:
            bias = jnp.tile(neighbours.of_scores(bias), (len(mask) // len(bias), 1, 1, 1))
        local = dataclasses.replace(local, blocks=Blocks(neighbours, neighbours.of_scores(near_mask), bias))
    return Views(whole, local, config.global_every)


def describe_stack(
    config: ModelSettings,
    path: str,
    layers: int,
    length: float,
    *,
    causal: bool,
    crossed: float = 0,
    biased: bool = False,
) -> Stack:
    """Returns what a stack of layers computes on a row of `length` tokens; arguments as of `make_views` and `Stack`."""
    whole = -(-layers // config.global_every)
    near = min(length, Neighbours.of_window(config.local_window, causal).keys)
    return Stack(
        path=path,
        layers=layers,
        width=config.width,
        heads=config.heads,
        kv_heads=config.key_value_heads,
        head_dim=config.head_size,
        mlp_hidden=config.mlp_hidden,
        length=length,
        keys=(whole * length + (layers - whole) * near) / layers,
        crossed=crossed,
        local=config.global_every > 1,
        biased=biased,
    )
