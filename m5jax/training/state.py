"""The train state: a pure nested dict of arrays, and where each lives on a mesh."""

from collections.abc import Callable
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Key, UInt32

from m5jax.errors import UserError
from m5jax.models import FunctionalModel, Parameters
from m5jax.models.functional import replace_part
from partitioning import partition_spec, tree_shardings

# From the shapes, types and shardings of all parameters to arrays of a part of the tree, or of all.
InitialParameters = Callable[[Parameters], Parameters]


class TrainState(TypedDict):
    """Everything a step reads and writes.

    step: steps taken; parameters: float32; optimizer: optax's state, of those that are trained; rng: key data of the
    run's random key.
    """

    step: Int[Array, ""]
    parameters: Parameters
    optimizer: Any
    rng: UInt32[Array, "..."]


def init_state(
    model: FunctionalModel,
    transformation: optax.GradientTransformation,
    seed: Key[Array, ""],
    given: Parameters | None = None,
) -> TrainState:
    """Returns the state of step 0, with `given` parameters (a part of the tree, or all) in place of drawn ones."""
    init_key, run_key = jax.random.split(seed)
    parameters = replace_part(model.init(init_key), given or {})
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        parameters=parameters,
        optimizer=transformation.init(model.trained_part(parameters)),
        rng=jax.random.key_data(run_key),
    )


def abstract_state(model: FunctionalModel, transformation: optax.GradientTransformation, mesh: Mesh) -> TrainState:
    """Returns shapes, types and shardings of the state, without allocating any of it."""
    shapes = jax.eval_shape(lambda: init_state(model, transformation, jax.random.key(0)))
    shardings = state_shardings(model, shapes, mesh)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes, shardings
    )


def place_given(given: Parameters, abstract: Parameters) -> Parameters:
    """Returns a part of the parameters with the shardings of `abstract`; what lies so already is not copied.

    Raises:
      UserError: a parameter has another name, shape or type than all of `abstract`.
    """
    known = dict(jax.tree_util.tree_flatten_with_path(abstract)[0])

    def place(path: tuple[Any, ...], leaf: Any) -> Array:
        expected, name = known.get(path), "/".join(str(getattr(key, "key", key)) for key in path)
        if expected is None:
            raise UserError(f"the initial parameter {name} is none of the model's")
        if (leaf.shape, leaf.dtype) != (expected.shape, expected.dtype):
            raise UserError(
                f"the initial parameter {name} is {leaf.dtype} {leaf.shape}; "
                f"in the model it is {expected.dtype} {expected.shape}"
            )
        return jax.device_put(leaf, expected.sharding)

    return jax.tree_util.tree_map_with_path(place, given)


def state_shardings(model: FunctionalModel, state: TrainState, mesh: Mesh) -> Any:
    """Returns a sharding for each leaf: parameters by their logical axes, optimizer state like its parameters."""
    axes_of = {
        path: (leaf.shape, axes)
        for (path, leaf), axes in zip(
            jax.tree_util.tree_flatten_with_path(model.abstract_parameters)[0],
            jax.tree.leaves(model.logical_axes, is_leaf=lambda node: isinstance(node, tuple)),
            strict=True,
        )
    }
    replicated = NamedSharding(mesh, PartitionSpec())

    def like_parameter(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        # An optimizer's leaf belongs to the parameter whose path ends its own.
        shape, axes = next((axes_of[path[start:]] for start in range(len(path)) if path[start:] in axes_of), ((), ()))
        kept = _kept_axes(leaf.shape, shape, axes)
        return replicated if kept is None else NamedSharding(mesh, partition_spec(kept, leaf.shape, dict(mesh.shape)))

    return {
        "step": replicated,
        "parameters": tree_shardings(mesh, model.abstract_parameters, model.logical_axes),
        "optimizer": jax.tree_util.tree_map_with_path(like_parameter, state["optimizer"]),
        "rng": replicated,
    }


def _kept_axes(
    shape: tuple[int, ...], parameter_shape: tuple[int, ...], axes: tuple[str, ...]
) -> tuple[str, ...] | None:
    """Returns a leaf's axes: the parameter's, or those without the one axis that a factored moment sums away."""
    if shape == parameter_shape:
        return axes
    for dropped in range(len(axes)):
        if shape == parameter_shape[:dropped] + parameter_shape[dropped + 1 :]:
            return axes[:dropped] + axes[dropped + 1 :]
    return None
