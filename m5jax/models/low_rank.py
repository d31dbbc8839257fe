"""Low-rank adapters (LoRA, arXiv 2106.09685): what is trained beside kernels that stay as they are."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from m5jax.errors import UserError, check_above_zero, check_least, unknown_name
from m5jax.models.products import linear

ADAPTERS = "adapters"  # the name of their place in a layer's part, and in the paths of parameters
ATTENTION_TARGETS, MLP_TARGETS = ("query", "key", "value", "output"), ("up", "gate", "down")


@dataclasses.dataclass(frozen=True)
class LowRankAdapters:
    """Products `x W` of the targets become `x W + (alpha / rank) (x A) B`, with A drawn and B zero at first.

    Attributes:
      rank: columns of A and rows of B.
      alpha: how much what they add counts, whatever the rank.
      targets: kernels of attention ("query", "key", "value", "output") and of MLPs ("up", "gate", "down").
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("query", "value")

    def __post_init__(self) -> None:
        check_least(self, rank=1)
        check_above_zero(self, "alpha")
        if not self.targets:
            raise UserError(f"LowRankAdapters.targets is empty; allowed: {', '.join(ATTENTION_TARGETS + MLP_TARGETS)}")
        for target in self.targets:
            if target not in ATTENTION_TARGETS + MLP_TARGETS:
                raise unknown_name("LowRankAdapters.targets", target, ATTENTION_TARGETS + MLP_TARGETS)


class LowRank(nnx.Module):
    """What is added to one kernel's product."""

    def __init__(self, kernel: nnx.Param[Any], contracted: int, settings: LowRankAdapters, rngs: nnx.Rngs):
        self.scale = settings.alpha / settings.rank
        shape, axes = kernel.shape, kernel.logical_axes
        size = math.prod(shape[:contracted])
        down = jax.random.normal(rngs.params(), (*shape[:contracted], settings.rank), jnp.float32) * size**-0.5
        self.down = nnx.Param(down, logical_axes=(*axes[:contracted], "rank"))
        up = jnp.zeros((settings.rank, *shape[contracted:]), jnp.float32)
        self.up = nnx.Param(up, logical_axes=("rank", *axes[contracted:]))

    def __call__(self, x: Float[Array, "..."], dtype: jnp.dtype, contracted: int) -> Float[Array, "..."]:
        return linear(linear(x, self.down, dtype, contracted), self.up, dtype) * self.scale


class Adapters(nnx.Module):
    """The adapters of a layer's part, under the names of their kernels."""

    def __init__(self, part: nnx.Module, names: Sequence[str], settings: LowRankAdapters, rngs: nnx.Rngs):
        for name in names:
            contracted = 2 if name == "output" else 1  # of the output projection: heads and their size
            setattr(self, name, LowRank(getattr(part, name), contracted, settings, rngs))


def add_adapters(part: Any, settings: LowRankAdapters | None, names: Sequence[str], rngs: nnx.Rngs) -> None:
    """Gives a layer's part adapters of those of its kernels `names` that are targets."""
    targets = [name for name in names if settings is not None and name in settings.targets]
    if settings is not None and targets:
        part.adapters = Adapters(part, targets, settings, rngs)


def project(part: Any, name: str, x: Float[Array, "..."], contracted: int = 1) -> Float[Array, "..."]:
    """Returns the product with the kernel `name` of a layer's part, and what its adapter adds, in `part.dtype`."""
    product = linear(x, getattr(part, name), part.dtype, contracted)
    adapter = getattr(getattr(part, ADAPTERS, None), name, None)
    return product if adapter is None else product + adapter(x, part.dtype, contracted)


def merge_adapters(parameters: Any, settings: LowRankAdapters) -> Any:
    """Returns nested parameters, with stacked layers, in which adapters are added to their kernels and gone."""
    if not isinstance(parameters, dict):
        return parameters
    merged = {name: merge_adapters(value, settings) for name, value in parameters.items() if name != ADAPTERS}
    for name, factors in parameters.get(ADAPTERS, {}).items():
        kernel, down, up = merged[name], factors["down"], factors["up"]
        product = jnp.matmul(down.reshape(len(down), -1, settings.rank), up.reshape(len(up), settings.rank, -1))
        merged[name] = kernel + settings.alpha / settings.rank * product.reshape(kernel.shape)
    return merged
