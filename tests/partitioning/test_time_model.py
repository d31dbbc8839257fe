"""Predicted seconds: no step beats the floor of its FLOPs, and networks slow what crosses them."""

import pytest

from partitioning.layout import Layout
from partitioning.mesh import MeshConfig
from partitioning.slices import parse_slice
from partitioning.time_model import axis_bandwidth, step_time
from tests.partitioning.workloads import encoder_workload

WORKLOAD = encoder_workload()
NODES = parse_slice("h100:4x8")


def seconds(mesh: MeshConfig, hardware: str = "h100:4x8", **changes):
    return step_time(WORKLOAD, Layout(mesh, **({"remat": ("none",)} | changes)), parse_slice(hardware), 1024)


def test_flops_are_six_for_each_weight_and_token():
    inside = sum(tensor.size for tensor in WORKLOAD.tensors if tensor.stacked)
    stack = WORKLOAD.stacks[0]
    scores = 2 * stack.layers * stack.length**2 * stack.width
    head = WORKLOAD.head.positions * (2048 * 32_768 + 2048**2)
    assert WORKLOAD.flops == 6 * (inside * 512 + scores + head)


def test_no_step_is_faster_than_its_products_at_the_peak():
    time = seconds(MeshConfig(1, 32, 1))
    assert time.total > time.products > 1024 * WORKLOAD.flops / (32 * 989.4e12)
    assert time.recomputation < 0.1 * time.products  # the logits of chunks


def test_recomputing_everything_is_a_third_more_at_most():
    none, full = (seconds(MeshConfig(1, 32, 1), remat=(policy,)).products for policy in ("none", "full"))
    assert 1.2 < full / none < 4 / 3


def test_policies_in_turn_recompute_the_mean():
    times = [seconds(MeshConfig(1, 32, 1), remat=r).recomputation for r in (("none", "full"), ("none",), ("full",))]
    assert times[0] == pytest.approx((times[1] + times[2]) / 2)


def test_only_axes_with_several_devices_wait():
    assert set(seconds(MeshConfig(1, 32, 1)).exposed) == {"fsdp"}
    assert set(seconds(MeshConfig(2, 2, 8)).exposed) == {"data", "fsdp", "tensor"}
    assert seconds(MeshConfig(1, 1, 1), "h100:1").exposed == {}


def test_axes_over_nodes_have_the_cards_of_the_devices_they_hold():
    sizes = MeshConfig(1, 4, 8).sizes
    assert axis_bandwidth("tensor", sizes, NODES) == 450e9
    assert axis_bandwidth("fsdp", sizes, NODES) == 50e9
    assert axis_bandwidth("fsdp", MeshConfig(1, 32, 1).sizes, NODES) == 400e9


def test_axes_over_sides_of_a_torus_have_their_links():
    torus = parse_slice("v5p:4x4x8")
    assert axis_bandwidth("fsdp", MeshConfig(1, 8, 16).sizes, torus) == 2 * 90e9
    assert axis_bandwidth("fsdp", MeshConfig(1, 128, 1).sizes, torus) == 6 * 90e9
    slices = parse_slice("v5p:4x4x8*2")
    assert axis_bandwidth("data", MeshConfig(2, 128, 1).sizes, slices) < 90e9


def test_tokens_split_over_devices_share_the_products():
    long = encoder_workload(length=8192)
    times = [
        step_time(long, Layout(MeshConfig(1, 4, tensor, sequence)), NODES, 64).products
        for tensor, sequence in ((8, 1), (1, 8))
    ]
    assert times[0] == pytest.approx(times[1])


def test_parts_of_a_batch_add_gradients_up_each():
    once, four = (seconds(MeshConfig(32, 1, 1), accumulation=parts).exposed["data"] for parts in (1, 4))
    assert four >= once


def test_what_waits_on_the_host_takes_time_to_go_there():
    assert "host" in seconds(MeshConfig(1, 32, 1), remat=("offload",)).exposed
    assert "host" not in seconds(MeshConfig(1, 32, 1), remat=("full",)).exposed


def test_heads_split_over_nodes_are_slower_than_within():
    wide, narrow = (seconds(mesh).exposed["tensor"] for mesh in (MeshConfig(1, 2, 16), MeshConfig(1, 4, 8)))
    assert wide > 2 * narrow


def test_what_limits_a_step_is_said():
    assert "tensor network" in seconds(MeshConfig(1, 2, 16)).limit


def test_stages_wait_for_their_first_and_last_micro_batches():
    mesh = MeshConfig(1, 8, 1, pipeline=4)
    eight, sixteen = (seconds(mesh, microbatches=count) for count in (8, 16))
    assert eight.bubble == pytest.approx(2 * sixteen.bubble)
    assert seconds(mesh, microbatches=8, rounds=2).bubble == pytest.approx(eight.bubble / 2)
    assert 0.5 * 3 / 8 < eight.bubble / eight.products < 3 / 8  # of the products, those of layers
    assert eight.products == pytest.approx(seconds(MeshConfig(1, 32, 1)).products)
