"""Logical axis names to mesh axes, by first match (as T5X's `t5x/partitioning.py::standard_logical_axis_rules`).

A rule `(logical, mesh)` applies to a dimension when the names match, the mesh axes are not yet taken by another
dimension of the same tensor, and they divide the dimension. The first rule that applies wins; none: replicated. So
activations with a `batch` dimension leave `embed` whole (`fsdp` is taken), while parameters shard `embed` over `fsdp`.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from partitioning.errors import PartitioningError

Rule = tuple[str, str | tuple[str, ...] | None]

DEFAULT_RULES: tuple[Rule, ...] = (
    ("batch", ("pipeline", "data", "fsdp")),
    ("replicas", ("pipeline", "data")),
    ("layers", "pipeline"),
    ("length", "sequence"),
    ("vocab", ("tensor", "sequence")),
    ("vocab", "tensor"),
    ("heads", "tensor"),
    ("kv_heads", "tensor"),
    ("mlp", "tensor"),
    ("embed", ("fsdp", "sequence")),
    ("embed", "fsdp"),
    # Replicated on purpose: scanned over, too small to be worth a collective, or not split by these meshes.
    ("embed", None),
    ("batch", None),
    ("replicas", None),
    ("vocab", None),
    ("heads", None),
    ("kv_heads", None),
    ("mlp", None),
    ("layers", None),
    ("head_dim", None),
    ("rank", None),
    ("classes", None),
    ("positions", None),
    ("keys", None),
    ("length", None),
)


def partition_spec(
    logical_axes: Sequence[str | None],
    shape: Sequence[int],
    mesh_shape: dict[str, int],
    rules: Sequence[Rule] = DEFAULT_RULES,
) -> PartitionSpec:
    """Returns the partition of one tensor.

    Args:
      logical_axes: a name a dimension; None is replicated.
      shape: the dimensions' sizes.
      mesh_shape: devices along each mesh axis.
      rules: first match wins.

    Raises:
      PartitioningError: a name no rule knows, or a rule names an axis the mesh lacks.
    """
    if len(logical_axes) != len(shape):
        raise PartitioningError(f"logical axes {tuple(logical_axes)} do not fit the shape {tuple(shape)}")
    taken: set[str] = set()
    spec: list[str | tuple[str, ...] | None] = []
    for name, size in zip(logical_axes, shape, strict=True):
        axes = () if name is None else _first_match(name, size, taken, mesh_shape, rules)
        taken.update(axes)
        spec.append(axes[0] if len(axes) == 1 else (axes or None))
    return PartitionSpec(*spec)


def _first_match(
    name: str, size: int, taken: set[str], mesh_shape: dict[str, int], rules: Sequence[Rule]
) -> tuple[str, ...]:
    matching = [mesh_axes for logical, mesh_axes in rules if logical == name]
    if not matching:
        allowed = ", ".join(dict.fromkeys(logical for logical, _ in rules))
        raise PartitioningError(f"no rule for the logical axis {name!r}; known: {allowed}")
    for mesh_axes in matching:
        axes = split_axes(mesh_axes)
        unknown = [axis for axis in axes if axis not in mesh_shape]
        if unknown:
            raise PartitioningError(f"the rule for {name!r} names {unknown}; mesh axes: {', '.join(mesh_shape)}")
        if not taken.intersection(axes) and size % math.prod(mesh_shape[axis] for axis in axes) == 0:
            # Axes of one device say nothing.
            return tuple(axis for axis in axes if mesh_shape[axis] > 1)
    return ()


def split_axes(entry: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Returns the mesh axes over which an entry of a `PartitionSpec` splits its dimension."""
    return (entry,) if isinstance(entry, str) else tuple(entry or ())


def explain_replication(
    logical_axes: Sequence[str],
    shape: Sequence[int],
    mesh_shape: dict[str, int],
    rules: Sequence[Rule] = DEFAULT_RULES,
) -> list[str]:
    """Returns why each dimension that a rule could split over several devices is not, in a few words each."""
    spec = partition_spec(logical_axes, shape, mesh_shape, rules)
    used = {name for entry in spec for name in split_axes(entry)}
    reasons = []
    for logical, size, entry in zip(logical_axes, shape, spec, strict=True):
        wanted = [axes for name, axes in rules if name == logical and axes]
        if entry is not None or not wanted:
            continue
        names = split_axes(wanted[0])
        devices = math.prod(mesh_shape[name] for name in names)
        if devices > 1 and set(names) & used:
            reasons.append(f"{logical}: {'+'.join(names)} is taken")
        elif devices > 1:
            reasons.append(f"{logical}: {devices} does not divide {size}")
    return reasons


def named_sharding(mesh: Mesh, logical_axes: Sequence[str | None], shape: Sequence[int]) -> NamedSharding:
    """Returns where a tensor with these logical axes lives on `mesh`."""
    return NamedSharding(mesh, partition_spec(logical_axes, shape, dict(mesh.shape)))


def tree_shardings(mesh: Mesh, abstract: Any, logical_axes: Any) -> Any:
    """Returns a tree of shardings for `abstract` (arrays or shape structs) from its tree of logical axis tuples."""
    return jax.tree.map(lambda leaf, axes: named_sharding(mesh, axes, leaf.shape), abstract, logical_axes)


def tree_shapes(mesh: Mesh, abstract: Any, logical_axes: Any) -> Any:
    """Returns `abstract` as `jax.ShapeDtypeStruct`s that say where each array lives on `mesh`."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        abstract,
        tree_shardings(mesh, abstract, logical_axes),
    )
