"""Arrays within a program, laid out by the rules on the mesh of `jax.set_mesh`; without one they stay as they are."""

import contextlib
import contextvars
import math
from collections.abc import Iterator, Sequence

import jax
from jax.sharding import PartitionSpec

from partitioning.rules import partition_spec, split_axes

STAGES = "pipeline"  # the mesh axis between whose devices micro-batches move

_within_stage = contextvars.ContextVar("within_stage", default=False)


def current_spec(logical_axes: Sequence[str | None], shape: Sequence[int]) -> PartitionSpec | None:
    """Returns the partition of a tensor on the mesh set by `jax.set_mesh`; None where none is set."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh is None or mesh.empty:
        return None
    sizes = dict(mesh.shape)
    if _within_stage.get():
        sizes[STAGES] = 1
    return partition_spec(logical_axes, shape, sizes)


def current_parts(logical_axis: str, size: int) -> int:
    """Returns into how many parts a dimension is cut on the mesh set by `jax.set_mesh`."""
    spec = current_spec((logical_axis,), (size,))
    if spec is None:
        return 1
    return math.prod(jax.sharding.get_abstract_mesh().shape[name] for name in split_axes(spec[0]))


def current_stages() -> int:
    """Returns into how many stages layers are cut on the mesh set by `jax.set_mesh`; 1 within one of them."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh is None or mesh.empty or _within_stage.get() else mesh.shape.get(STAGES, 1)


@contextlib.contextmanager
def within_stage() -> Iterator[None]:
    """Within its context arrays are those of one stage: nothing is split over `STAGES`."""
    token = _within_stage.set(True)
    try:
        yield
    finally:
        _within_stage.reset(token)


def is_within_stage() -> bool:
    """Returns whether what is traced is one stage of a pipeline."""
    return _within_stage.get()


def constrain(x: jax.Array, *logical_axes: str | None) -> jax.Array:
    """Pins an activation's layout on the mesh set by `jax.set_mesh`; returns it unchanged where none is set."""
    spec = current_spec(logical_axes, x.shape)
    return x if spec is None else jax.lax.with_sharding_constraint(x, spec)


def constrain_transposed(x: jax.Array, *logical_axes: str | None) -> jax.Array:
    """Pins the transpose of a matrix of these axes to where the matrix itself lives."""
    spec = current_spec(logical_axes, x.shape[::-1])
    return x if spec is None else jax.lax.with_sharding_constraint(x, PartitionSpec(*reversed(spec)))
