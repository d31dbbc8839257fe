"""The search: what it offers fits, is the fastest by its own figures, and what fits nowhere is said."""

import dataclasses
import itertools
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioning import PartitioningError
from partitioning.layout import Layout
from partitioning.mesh import MeshConfig
from partitioning.planner import (
    FILLED,
    POLICIES,
    best_plans,
    largest_batch,
    longest_rows,
    make_plan,
    search_plans,
    slice_meshes,
    smallest_slice,
)
from partitioning.slices import parse_slice
from tests.partitioning.workloads import encoder_workload

LARGE = {"layers": 80, "width": 10_240, "heads": 80, "hidden": 25_984, "vocab": 256_000}


@given(st.sampled_from(["h100:8", "h100:4x8", "v5e:4x8", "v5p:4x4x8", "v5e:16x16*2", "a100-40gb:3x8"]))
def test_meshes_of_a_slice_multiply_to_it(hardware):
    slice_ = parse_slice(hardware)
    meshes = [dataclasses.astuple(mesh) for mesh in slice_meshes(slice_)]
    assert len(meshes) == len(set(meshes))
    assert {math.prod(mesh) for mesh in meshes} == {slice_.size}


def test_a_torus_has_whole_sides():
    sizes = {mesh.fsdp for mesh in slice_meshes(parse_slice("v5p:4x4x8"))}
    assert sizes == {1, 4, 8, 16, 32, 128}


@pytest.mark.parametrize("hardware", ["h100:8x8", "v5p:4x4x4"])
def test_plans_fit_and_the_fastest_is_first(hardware):
    slice_ = parse_slice(hardware)
    plans = search_plans(encoder_workload(), slice_, 1024)
    assert all(plan.memory.total <= FILLED * slice_.chip.memory for plan in plans)
    assert plans[0].time.total <= min(plan.time.total for plan in plans) * 1.03
    assert all(1024 % (plan.layout.mesh.data * plan.layout.mesh.fsdp * plan.layout.accumulation) == 0 for plan in plans)


SETTINGS = {
    "h100:1x8": ({}, 512),
    "h100:8x8": (LARGE | {"layers": 16}, 1024),
    "h200:32x8": (LARGE, 2048),
    "v5p:8x8x8": (LARGE, 2048),
    "v5e:16x16": ({"layers": 48, "width": 4096, "heads": 32, "hidden": 14_336}, 1024),
}


def hand_written(hardware: str) -> list[Layout]:
    """Layouts that people write down: all data or all fsdp, heads within a node or a side, the usual policies."""
    slice_ = parse_slice(hardware)
    tensors = {"tpu": [1, slice_.shape[-1]], "cuda": [1, 2, 4, 8]}[slice_.chip.platform]
    meshes = []
    for tensor in tensors:
        rest = slice_.size // tensor
        meshes += [MeshConfig(rest, 1, tensor), MeshConfig(1, rest, tensor)]
        if rest > slice_.shape[-1]:
            meshes.append(MeshConfig(rest // slice_.shape[-1], slice_.shape[-1], tensor))
    parts = itertools.product(meshes, ("full", "dots", "none"), ("adamw", "adafactor"), (1, 4))
    return [Layout(mesh, count, (policy,), optimizer) for mesh, policy, optimizer, count in parts]


@pytest.mark.parametrize("hardware", SETTINGS)
def test_no_hand_written_layout_that_fits_is_faster(hardware):
    shape, batch = SETTINGS[hardware]
    workload, slice_ = encoder_workload(**shape), parse_slice(hardware)
    best = best_plans(workload, slice_, batch)[0]
    layouts = hand_written(hardware)
    assert len(layouts) >= 20
    own = [make_plan(workload, slice_, batch, layout) for layout in layouts]
    fitting = [plan for plan in own if plan.fits and batch % (plan.layout.mesh.fsdp * plan.layout.mesh.data) == 0]
    assert fitting
    assert best.time.total <= min(plan.time.total for plan in fitting) * 1.03


def test_a_model_that_fits_nowhere_says_what_it_needs():
    with pytest.raises(
        PartitioningError, match=r"does not fit on h100:1x8 in any layout; needed: h100:\d+x8 \(\d+ dev"
    ):
        best_plans(encoder_workload(**LARGE), parse_slice("h100:8"), 64)


def test_a_batch_that_no_mesh_splits_is_refused():
    with pytest.raises(PartitioningError, match="no mesh of h100:1x8 splits the model and a batch of 3 rows"):
        best_plans(encoder_workload(heads=15, width=1920), parse_slice("h100:8"), 3)


def test_the_smallest_slice_fits_and_the_one_before_does_not():
    workload = encoder_workload(**LARGE)
    smallest = smallest_slice(workload, parse_slice("h200:8"), 1024)
    assert smallest is not None
    assert search_plans(workload, smallest, 1024)
    before = parse_slice(f"h200:{smallest.shape[0] // 2}x8")
    assert not search_plans(workload, before, 1024)


def test_the_largest_batch_and_the_longest_rows():
    workload, slice_ = encoder_workload(), parse_slice("h100:8")
    rows = largest_batch(workload, slice_)
    assert any(plan.layout.accumulation == 1 for plan in search_plans(workload, slice_, rows))
    assert all(plan.layout.accumulation > 1 for plan in search_plans(workload, slice_, 2 * rows))
    small, one = {"layers": 12, "width": 1024, "heads": 8, "hidden": 2816}, parse_slice("l4:1")
    length = longest_rows(lambda length: encoder_workload(length=length, **small), one, 1)
    assert search_plans(encoder_workload(length=length, **small), one, 1)
    assert not search_plans(encoder_workload(length=2 * length, **small), one, 1)


def test_the_names_that_are_searched_are_those_of_the_models():
    from m5jax.models.stack import REMAT_POLICIES

    assert set(POLICIES) == set(REMAT_POLICIES)


def test_long_rows_of_few_are_split_over_devices():
    plans = search_plans(encoder_workload(length=32_768), parse_slice("h100:4x8"), 4)
    assert plans[0].layout.mesh.sequence > 1


def test_layers_that_see_near_tokens_are_not_split_over_devices():
    workload = encoder_workload(length=32_768)
    stacks = tuple(dataclasses.replace(stack, local=True) for stack in workload.stacks)
    local = dataclasses.replace(workload, stacks=stacks)
    assert all(plan.layout.mesh.sequence == 1 for plan in search_plans(local, parse_slice("h100:4x8"), 32))


PRESETS = sorted((Path(__file__).resolve().parents[2] / "gin_configs" / "meshes").glob("[gt]pu_*.gin"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_presets_are_meshes_of_the_hardware_they_name(path):
    text = path.read_text(encoding="utf-8")
    hardware = re.search(r"--hardware='(\S+)'", text)[1]
    axes = {name: int(size) for name, size in re.findall(r"^MeshConfig\.(\w+) = (\d+)$", text, flags=re.MULTILINE)}
    assert f"gin_configs/meshes/{path.name}" in text
    assert MeshConfig(**axes) in set(slice_meshes(parse_slice(hardware)))
