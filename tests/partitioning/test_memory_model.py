"""Predicted bytes: the state exactly, the rest as it must depend on the layout."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioning.hardware import get_chip
from partitioning.layout import Layout
from partitioning.memory_model import factored_moments, step_memory
from partitioning.mesh import MeshConfig
from partitioning.workload import Tensor
from tests.partitioning.workloads import encoder_workload

WORKLOAD = encoder_workload()
CHIP = get_chip("h100")


def memory(mesh: MeshConfig, batch: int = 64, **changes):
    return step_memory(WORKLOAD, Layout(mesh, **changes), CHIP, batch)


@pytest.mark.parametrize(("sizes", "shards"), [((8, 1, 1), 1), ((1, 8, 1), 8), ((1, 4, 2), 8)])
def test_the_state_is_what_the_rules_leave_on_a_device(sizes, shards):
    mesh = MeshConfig(*sizes)
    # The two norms aside, which `tensor` does not split.
    assert memory(mesh).parameters == pytest.approx(4 * WORKLOAD.parameters / shards, rel=1e-4)
    assert memory(mesh).optimizer == 2 * memory(mesh).parameters


@given(st.lists(st.sampled_from([1, 3, 100, 128, 200, 256, 300]), min_size=1, max_size=3))
def test_factored_moments_are_optax_own(shape):
    state = jax.eval_shape(optax.scale_by_factored_rms().init, {"x": jax.ShapeDtypeStruct(tuple(shape), jnp.float32)})
    kept = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves((state.v_row, state.v_col, state.v)))
    # optax keeps one number in place of each moment that is not used.
    tensor = Tensor("x", tuple(shape), ("layers", "embed", "mlp")[: len(shape)])
    own = sum(moment.size for moment in factored_moments(tensor))
    assert own <= kept <= own + 2


def test_each_policy_keeps_less_than_the_one_before():
    kept = [memory(MeshConfig(1, 8, 1), remat=(policy,)).kept for policy in ("none", "dots", "attention_saved", "full")]
    assert kept == sorted(kept, reverse=True)
    assert memory(MeshConfig(1, 8, 1), remat=("full",)).host == 0
    offloaded = memory(MeshConfig(1, 8, 1), remat=("offload",))
    assert (offloaded.kept, offloaded.host) == (0, kept[-1])


def test_policies_in_turn_keep_the_mean():
    both = memory(MeshConfig(1, 8, 1), batch=512, remat=("dots", "full")).kept
    each = [memory(MeshConfig(1, 8, 1), batch=512, remat=(policy,)).kept for policy in ("dots", "full")]
    assert both == pytest.approx(sum(each) / 2)


def test_parts_of_a_batch_need_less_and_a_second_gradient():
    whole, parts = (memory(MeshConfig(1, 8, 1), batch=512, accumulation=count) for count in (1, 4))
    assert parts.total < whole.total
    assert parts.kept == pytest.approx(whole.kept / 4)
    assert parts.gradients >= parts.parameters


@pytest.mark.parametrize("change", [{"layers": 48}, {"hidden": 11264}, {"length": 1024}])
def test_more_of_a_model_needs_more(change):
    layout = Layout(MeshConfig(1, 8, 1))
    smaller, larger = (step_memory(w, layout, CHIP, 64).total for w in (WORKLOAD, encoder_workload(**change)))
    assert larger > smaller


def test_a_total_is_the_sum_of_what_is_on_the_device():
    parts = memory(MeshConfig(1, 8, 1), remat=("offload",))
    values = dataclasses.asdict(parts)
    assert parts.total == sum(values.values()) - values["host"]


def test_a_stage_keeps_its_layers_for_each_micro_batch_that_passes():
    mesh = MeshConfig(1, 2, 1, pipeline=2)
    few, many = (memory(mesh, remat=("full",), microbatches=count) for count in (2, 16))
    # Of half of the layers, of all rows of the stage and what passes at the ends; and states that wait between stages.
    assert few.kept > many.kept > memory(MeshConfig(1, 4, 1), remat=("full",)).kept
    whole, split = (memory(MeshConfig(1, size, 1)).parameters for size in (2, 4))
    assert split < many.parameters < whole  # what is outside of the layers is not split by stages
    assert many.working < few.working
    assert memory(mesh, microbatches=16, rounds=2).gradients > memory(mesh, microbatches=16).gradients
