"""The train state: shapes, where each leaf lives, and the same draws on every mesh."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from m5jax.errors import UserError
from m5jax.training.optimizers import Adafactor, AdamW
from m5jax.training.schedules import InverseSquareRoot
from m5jax.training.state import abstract_state, init_state, place_given
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


def sharded(mesh: Mesh, given: Any) -> Any:
    """Returns (abstract state, a state that begins with the `given` parameters on `mesh`)."""
    model, transformation = encoder(), AdamW(SCHEDULE).make(encoder().logical_axes, 1.0)
    abstract = abstract_state(model, transformation, mesh)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)

    def init(key: Any, given: Any) -> Any:
        return init_state(model, transformation, key, given)

    started = jax.jit(init, out_shardings=shardings, donate_argnums=1)
    return abstract, started(jax.random.key(0), place_given(given, abstract["parameters"]))


@pytest.mark.parametrize("mesh", [one_device, eight_devices])
@pytest.mark.filterwarnings("error")
def test_given_parameters_take_the_place_of_drawn_ones_where_the_rules_say(mesh: Callable[[], Mesh]) -> None:
    """A part of the tree, from the host and on one device; what is not given is drawn as ever."""
    drawn = tiny_state(encoder(), mesh(), AdamW(SCHEDULE))[1]
    random = np.random.default_rng(0)
    embedding = random.normal(size=drawn["parameters"]["embedding"].shape).astype(np.float32)
    before, dense = embedding.copy(), jnp.ones(drawn["parameters"]["masked_lm_head"]["dense"].shape)
    abstract, state = sharded(mesh(), {"embedding": embedding, "masked_lm_head": {"dense": dense}})
    assert described(state) == described(abstract)
    np.testing.assert_array_equal(state["parameters"]["embedding"], before)
    np.testing.assert_array_equal(embedding, before)  # the host's own array is left alone
    assert (np.asarray(state["parameters"]["masked_lm_head"]["dense"]) == 1).all()
    for name in ("layers", "final_norm", "embedding_norm"):
        assert_same(state["parameters"][name], drawn["parameters"][name])
    assert_same((state["optimizer"], state["rng"]), (drawn["optimizer"], drawn["rng"]))


@pytest.mark.filterwarnings("error:Some donated buffers were not usable")
def test_given_arrays_that_lie_right_are_taken_over_and_not_copied() -> None:
    given = tiny_state(encoder(), eight_devices(), AdamW(SCHEDULE))[1]["parameters"]
    expected = jax.device_get(given)
    state = sharded(eight_devices(), given)[1]
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(given))
    assert_same(state["parameters"], expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"embeding": np.zeros((48, 16), np.float32)}, "initial parameter embeding is none of the model's"),
        ({"layers": np.zeros((48, 16), np.float32)}, "initial parameter layers is none of the model's"),
        ({"embedding": np.zeros((40, 16), np.float32)}, r"embedding is float32 \(40, 16\); in the model it is float32"),
        ({"masked_lm_head": {"dense": np.zeros((16, 16))}}, "masked_lm_head/dense is float64 .* it is float32"),
    ],
)
def test_parameters_of_another_model_are_refused_by_name(given: Any, message: str) -> None:
    abstract, _ = adamw_on_eight_devices()
    with pytest.raises(UserError, match=message):
        place_given(given, abstract["parameters"])
