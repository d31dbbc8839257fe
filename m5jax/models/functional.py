"""The fence around Flax NNX: outside `m5jax.models`, a model is a static graph plus a nested dict of arrays."""

import dataclasses
import math
from typing import Any, Protocol

import jax
from flax import nnx
from jaxtyping import Array, Key

Parameters = dict[str, Any]


class ModelConfig(Protocol):
    """What makes a model: any frozen config dataclass with these."""

    @property
    def width_multiple(self) -> float: ...

    def make(self, rngs: nnx.Rngs) -> nnx.Module: ...


@dataclasses.dataclass(frozen=True)
class FunctionalModel:
    """A model without its arrays.

    Attributes:
      config: what it was made from.
      abstract_parameters: nested dict of `jax.ShapeDtypeStruct`.
      logical_axes: the same nested dict of tuples, one axis name a dimension.
      trained: the same nested dict of booleans, which parameters training may change; None: all.
    """

    config: Any
    graphdef: Any
    abstract_state: Any
    abstract_parameters: Parameters
    logical_axes: Parameters
    trained: Parameters | None = None

    @classmethod
    def from_config(cls, config: ModelConfig) -> "FunctionalModel":
        module = nnx.eval_shape(lambda: config.make(nnx.Rngs(params=0)))
        graphdef, state = nnx.split(module)
        axes = nnx.map_state(lambda _, parameter: _Axes(parameter.logical_axes), state)
        return cls(
            config=config,
            graphdef=graphdef,
            abstract_state=state,
            abstract_parameters=nnx.to_pure_dict(state),
            logical_axes=jax.tree.map(lambda leaf: leaf.names, nnx.to_pure_dict(axes)),
        )

    def init(self, key: Key[Array, ""]) -> Parameters:
        """Returns freshly drawn parameters; jit it with output shardings to draw them in place."""
        return nnx.to_pure_dict(nnx.state(self.config.make(nnx.Rngs(params=key))))

    def bind(self, parameters: Parameters) -> Any:
        """Returns the NNX module holding `parameters` (arrays or tracers)."""
        state = jax.tree.map(lambda x: x, self.abstract_state)
        nnx.replace_by_pure_dict(state, parameters)
        return nnx.merge(self.graphdef, state)

    def trained_part(self, tree: Parameters) -> Parameters:
        """Returns what a nested dict, shaped as the parameters, has for those that are trained."""
        return tree if self.trained is None else _selected(tree, self.trained)

    def with_trained(self, tree: Parameters, part: Parameters) -> Parameters:
        """Returns a nested dict with `part`, as from `trained_part`, in its place."""
        return part if self.trained is None else replace_part(tree, part)

    @property
    def width_multiple(self) -> float:
        """How many times as wide as the model that rates are tuned for (`MaximalUpdate`)."""
        return self.config.width_multiple

    @property
    def parameter_count(self) -> int:
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.abstract_parameters))


def _selected(tree: Any, trained: Any) -> Any:
    kept = {
        name: _selected(tree[name], own) if isinstance(own, dict) else tree[name]
        for name, own in trained.items()
        if own is not False
    }
    return {name: part for name, part in kept.items() if not (isinstance(part, dict) and not part)}


def replace_part(tree: Any, part: Any) -> Any:
    """Returns a nested dict with `part`, a nested dict of some of its leaves, in their place."""
    if not isinstance(part, dict):
        return part
    return tree | {name: replace_part(tree[name], own) for name, own in part.items()}


@dataclasses.dataclass(frozen=True)
class _Axes:
    """Keeps a tuple of names one leaf of a tree."""

    names: tuple[str, ...]
