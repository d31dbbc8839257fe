"""First-match rules: which dimension of which tensor goes where."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import PartitionSpec

from partitioning import (
    DEFAULT_RULES,
    MeshConfig,
    PartitioningError,
    constrain,
    current_parts,
    make_mesh,
    named_sharding,
    partition_spec,
    tree_shapes,
    tree_shardings,
)
from partitioning.current_mesh import current_stages, within_stage

MESH_SHAPE = {"pipeline": 1, "data": 2, "fsdp": 2, "sequence": 1, "tensor": 2}
NAMES = sorted({name for name, _ in DEFAULT_RULES})


@pytest.mark.parametrize(
    ("axes", "shape", "expected"),
    [
        (("vocab", "embed"), (64, 16), ("tensor", "fsdp")),
        (("layers", "embed", "heads", "head_dim"), (4, 16, 4, 4), (None, "fsdp", "tensor", None)),
        (("layers", "mlp", "embed"), (4, 32, 16), (None, "tensor", "fsdp")),
        (("batch", "length", "embed"), (8, 16, 32), (("data", "fsdp"), None, None)),
        (("batch", "length", "heads", "head_dim"), (8, 16, 4, 4), (("data", "fsdp"), None, "tensor", None)),
        (("batch", None, "vocab"), (8, 4, 64), (("data", "fsdp"), None, "tensor")),
        (("embed",), (16,), ("fsdp",)),
        (("embed",), (15,), (None,)),  # does not divide
        (("heads", "mlp"), (4, 4), ("tensor", None)),  # taken
        (("batch", "embed"), (6, 16), (None, "fsdp")),  # 6 rows do not divide by 4, which leaves fsdp free
        ((), (), ()),
    ],
)
def test_default_rules(axes: tuple[str | None, ...], shape: tuple[int, ...], expected: tuple[object, ...]) -> None:
    assert partition_spec(axes, shape, MESH_SHAPE) == PartitionSpec(*expected)


@pytest.mark.parametrize(
    ("axes", "shape", "expected"),
    [
        (("batch", "length", "embed"), (8, 16, 32), (("data", "fsdp"), "sequence", None)),
        (("batch", "keys", "kv_heads", "head_dim"), (8, 16, 4, 4), (("data", "fsdp"), None, "tensor", None)),
        (("batch", "length", "embed"), (8, 15, 32), (("data", "fsdp"), None, None)),  # does not divide
        (("layers", "embed", "mlp"), (4, 16, 32), (None, ("fsdp", "sequence"), "tensor")),
        (("vocab", "embed"), (64, 16), (("tensor", "sequence"), "fsdp")),
        (("batch", None, "vocab"), (8, 4, 64), (("data", "fsdp"), None, ("tensor", "sequence"))),
    ],
)
def test_tokens_of_a_row_split_over_devices(
    axes: tuple[str | None, ...], shape: tuple[int, ...], expected: tuple[object, ...]
) -> None:
    assert partition_spec(axes, shape, MESH_SHAPE | {"sequence": 2}) == PartitionSpec(*expected)


def test_stages_of_a_pipeline_split_layers_and_outside_of_them_rows() -> None:
    sizes = MESH_SHAPE | {"pipeline": 2}
    assert partition_spec(("layers", "embed"), (4, 16), sizes) == PartitionSpec("pipeline", "fsdp")
    assert partition_spec(("layers", "embed"), (3, 16), sizes) == PartitionSpec(None, "fsdp")
    assert partition_spec(("batch", "embed"), (8, 16), sizes) == PartitionSpec(("pipeline", "data", "fsdp"), None)
    mesh = make_mesh(MeshConfig(2, 2, pipeline=2))
    with jax.set_mesh(mesh):
        assert (current_stages(), current_parts("batch", 8)) == (2, 8)
        with within_stage():
            assert (current_stages(), current_parts("batch", 8)) == (1, 4)
        assert current_stages() == 2


def test_the_first_rule_that_applies_wins() -> None:
    rules = (("mlp", ("tensor", "fsdp")), ("mlp", "tensor"), ("mlp", None), ("embed", "tensor"), ("embed", "fsdp"))
    assert partition_spec(("mlp",), (8,), MESH_SHAPE, rules) == PartitionSpec(("tensor", "fsdp"))
    assert partition_spec(("mlp",), (6,), MESH_SHAPE, rules) == PartitionSpec("tensor")
    assert partition_spec(("mlp",), (5,), MESH_SHAPE, rules) == PartitionSpec(None)
    assert partition_spec(("mlp", "embed"), (6, 8), MESH_SHAPE, rules) == PartitionSpec("tensor", "fsdp")


@given(st.lists(st.tuples(st.sampled_from([*NAMES, None]), st.integers(1, 48)), max_size=5), st.data())
def test_each_mesh_axis_is_used_once_and_divides(dimensions: list[tuple[str | None, int]], data: st.DataObject) -> None:
    mesh_shape = {axis: data.draw(st.integers(1, 6)) for axis in MESH_SHAPE}
    names, shape = [name for name, _ in dimensions], [size for _, size in dimensions]
    spec = partition_spec(names, shape, mesh_shape)
    assert len(spec) == len(shape)
    used: list[str] = []
    for size, axes in zip(shape, spec, strict=True):
        axes = (axes,) if isinstance(axes, str) else axes or ()
        used += axes
        assert size % math.prod(mesh_shape[axis] for axis in axes) == 0
    assert len(used) == len(set(used))


def test_unknown_names_and_wrong_ranks_are_refused() -> None:
    with pytest.raises(
        PartitioningError, match="no rule for the logical axis 'embde'; known: batch, replicas, layers, length"
    ):
        partition_spec(("embde",), (4,), MESH_SHAPE)
    with pytest.raises(PartitioningError, match=r"do not fit the shape \(4, 4\)"):
        partition_spec(("embed",), (4, 4), MESH_SHAPE)
    with pytest.raises(
        PartitioningError, match=r"names \['expert'\]; mesh axes: pipeline, data, fsdp, sequence, tensor"
    ):
        partition_spec(("mlp",), (4,), MESH_SHAPE, (("mlp", "expert"),))


def test_trees_of_shardings() -> None:
    mesh = make_mesh(MeshConfig(2, 2, 2))
    abstract = {"a": {"b": jax.ShapeDtypeStruct((4, 6), jnp.float32)}, "c": jax.ShapeDtypeStruct((3,), jnp.int32)}
    axes = {"a": {"b": ("embed", "mlp")}, "c": ("embed",)}
    shardings = tree_shardings(mesh, abstract, axes)
    assert shardings["a"]["b"] == named_sharding(mesh, ("embed", "mlp"), (4, 6))
    assert shardings["a"]["b"].spec == PartitionSpec("fsdp", "tensor")
    assert shardings["c"].is_fully_replicated
    shapes = tree_shapes(mesh, abstract, axes)
    assert jax.tree.map(lambda leaf: leaf.sharding, shapes) == shardings
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), shapes) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), abstract
    )


def test_constrain_lays_out_on_the_mesh_that_is_set() -> None:
    mesh = make_mesh(MeshConfig(2, 2, 2))
    x = np.arange(8 * 4 * 6, dtype=np.float32).reshape(8, 4, 6)
    with jax.set_mesh(mesh):
        pinned = jax.jit(lambda x: constrain(x * 1, "batch", "length", "mlp"))(x)
    assert pinned.sharding.is_equivalent_to(named_sharding(mesh, ("batch", "length", "mlp"), x.shape), x.ndim)
    np.testing.assert_array_equal(pinned, x)


def test_constrain_without_a_mesh_changes_nothing() -> None:
    x = jnp.ones((3, 5))
    assert constrain(x, "batch", "embed") is x
