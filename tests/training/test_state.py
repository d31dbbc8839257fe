"""The train state: shapes, where each leaf lives, and the same draws on every mesh."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import pytest
from jax.sharding import PartitionSpec

from m5jax.training.optimizers import Adafactor, AdamW
from m5jax.training.schedules import InverseSquareRoot
from tests.training.tiny import assert_same, eight_devices, encoder, one_device, tiny_state

SCHEDULE = InverseSquareRoot(1e-3, 5)


@functools.cache
def adamw_on_eight_devices() -> Any:
    return tiny_state(encoder(), eight_devices(), AdamW(SCHEDULE))


def described(state: Any) -> Any:
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.sharding), state)


@pytest.mark.parametrize(
    "make", [adamw_on_eight_devices, lambda: tiny_state(encoder(), eight_devices(), Adafactor(SCHEDULE))]
)
def test_the_abstract_state_describes_the_real_one(make: Callable[[], Any]) -> None:
    abstract, state = make()
    assert described(abstract) == described(state)
    assert int(state["step"]) == 0


def test_every_leaf_lives_where_the_rules_say() -> None:
    _, state = adamw_on_eight_devices()
    parameters = state["parameters"]
    expected = {
        "embedding": ("tensor", "fsdp"),
        "final_norm/scale": ("fsdp",),
        "layers/attention/query": (None, "fsdp", "tensor", None),
        "layers/attention/output": (None, "tensor", None, "fsdp"),
        "layers/mlp/up": (None, "fsdp", "tensor"),
        "layers/mlp/down": (None, "tensor", "fsdp"),
        "layers/mlp_norm/scale": (None, "fsdp"),
        "masked_lm_head/dense": ("fsdp", "tensor"),
    }
    adam = [node for node in state["optimizer"][1] if hasattr(node, "mu")][0]
    for tree in (parameters, adam.mu, adam.nu):
        for path, spec in expected.items():
            leaf = tree
            for name in path.split("/"):
                leaf = leaf[name]
            assert leaf.sharding.spec == PartitionSpec(*spec), path
            shards = math.prod(2 for axis in spec if axis)
            assert leaf.addressable_shards[0].data.size * shards == leaf.size, path
        assert jax.tree.map(lambda leaf: leaf.sharding, tree) == jax.tree.map(lambda leaf: leaf.sharding, parameters)
    assert state["step"].sharding.is_fully_replicated
    assert adam.count.sharding.is_fully_replicated


def test_the_mesh_does_not_change_what_is_drawn() -> None:
    assert_same(adamw_on_eight_devices()[1], tiny_state(encoder(), one_device(), AdamW(SCHEDULE))[1])
