"""Seconds of a training step, predicted from FLOPs, bytes of memory and bytes of networks.

A step takes its products, at the rate that large ones reach; then what moves activations and state through memory; then
the part of each axis's collectives that no products hide. What is hidden follows how programs are written: gathered
parameters and scattered gradients can wait for products of other layers, activations that heads and hidden units are
summed over cannot.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping

from partitioning.hardware import Chip
from partitioning.layout import Layout
from partitioning.memory_model import offloaded
from partitioning.mesh import MESH_AXES
from partitioning.shares import BFLOAT16, FLOAT32, Share
from partitioning.slices import Slice
from partitioning.workload import Stack, Workload

# With these shares published runs are predicted within a quarter (benchmarks/published.py).
_PRODUCT_RATE = {"cuda": 0.75, "tpu": 1.0}  # of the rate of the best products, by those of a step
_MEMORY_RATE = 0.8  # of the bandwidth, by elementwise work
_NETWORK_RATE = {"cuda": 0.75, "tpu": 0.85}  # of the bandwidth, by collectives
# Of the time of products, behind which an axis's collectives hide.
_HIDDEN = {"data": 0.7, "fsdp": 0.7, "sequence": 0.0, "tensor": 0.0, "host": 0.7}
_HOP = {"cuda": 5e-6, "tpu": 1e-6}  # seconds from node to node, or chip to chip
_STEP_IN_NODE = 1e-6  # seconds from GPU to GPU


@dataclasses.dataclass(frozen=True)
class StepTime:
    """Seconds of a step, by part.

    Attributes:
      products: matrix products, of them `recomputation` for the backward pass.
      memory: elementwise work, norms, softmax and the optimizer.
      exposed: collectives of each mesh axis, and transfers to the host, that nothing hides.
    """

    products: float
    recomputation: float
    memory: float
    exposed: Mapping[str, float]

    @property
    def total(self) -> float:
        return self.products + self.memory + sum(self.exposed.values())

    @property
    def limit(self) -> str:
        """What takes the most beside the products that the model needs."""
        parts = {"recomputation": self.recomputation, "memory bandwidth": self.memory}
        parts |= {f"{axis} network": seconds for axis, seconds in self.exposed.items()}
        worst = max(parts, key=lambda name: parts[name])
        return worst if parts[worst] > 0.25 * (self.products - self.recomputation) else "products"


def step_time(workload: Workload, layout: Layout, slice_: Slice, batch_size: int) -> StepTime:
    """Returns the seconds of a step of a global batch."""
    share, chip = Share.of(layout, batch_size), slice_.chip
    rate = chip.peak["bfloat16"] * chip.matrix_rate * _PRODUCT_RATE[chip.platform]
    rows = share.rows * layout.accumulation
    head = workload.head.products * share.vocabulary(workload.head) / workload.head.vocab_size
    stacks = [(stack, share.tensor * share.parts(stack)) for stack in workload.stacks]
    again = sum(stack.recomputed_in_turn(layout.remat) / parts for stack, parts in stacks)
    recomputation = 2 * rows * (again + head) / rate
    products = 6 * rows * (sum(stack.products / parts for stack, parts in stacks) + head) / rate + recomputation
    memory = _memory_seconds(workload, layout, share, chip)
    waiting = _network_seconds(workload, layout, share, slice_)
    host = 2 * layout.accumulation * sum(offloaded(stack, layout.remat, share) for stack in workload.stacks)
    if host:
        waiting["host"] = host / chip.host_bandwidth
    exposed = {axis: max(0.0, seconds - _HIDDEN[axis] * products) for axis, seconds in waiting.items()}
    return StepTime(products, recomputation, memory, exposed)


def _memory_seconds(workload: Workload, layout: Layout, share: Share, chip: Chip) -> float:
    # Forward, its recomputation, and the backward, which reads and writes twice as much.
    again = sum(policy in ("full", "offload", "attention_saved") for policy in layout.remat) / len(layout.remat)
    activations = sum(_moved(stack, share, chip) * stack.layers for stack in workload.stacks) * (3 + again)
    logits = 4 * FLOAT32 * 3 * share.rows * workload.head.positions * share.vocabulary(workload.head)
    state = sum(tensor.size / share.shards(tensor) for tensor in workload.tensors) * FLOAT32
    update = state * (7 if layout.optimizer == "adamw" else 4)
    accumulated = 3 * state * layout.accumulation if layout.accumulation > 1 else 0.0
    moved = (activations + logits) * layout.accumulation + update + accumulated
    return moved / (chip.memory_bandwidth * _MEMORY_RATE)


def _moved(stack: Stack, share: Share, chip: Chip) -> float:
    """Returns the bytes that a layer's forward pass moves beside its products' operands."""
    tokens = share.tokens(stack)
    heads = (2 * share.split(stack.heads) + 2 * share.split(stack.kv_heads)) * stack.head_dim
    states = tokens * (8 * stack.width + 3 * heads + 4 * share.split(stack.mlp_hidden)) * BFLOAT16
    scores = tokens * share.split(stack.heads) * (stack.keys + stack.crossed)
    return states + (scores * 3 * FLOAT32 if stack.moves_scores(chip.platform) else 0.0)


def _network_seconds(workload: Workload, layout: Layout, share: Share, slice_: Slice) -> dict[str, float]:
    """Returns the seconds that the collectives of each axis take by themselves."""
    parts, platform = layout.accumulation, slice_.chip.platform
    moved = dict.fromkeys(MESH_AXES, 0.0)
    gathering = "fsdp" if share.mesh["fsdp"] > 1 else "sequence"
    layers = sum(stack.layers for stack in workload.stacks)
    for tensor in workload.tensors:
        gathered = tensor.size / share.gathered_shards(tensor)
        if share.is_gathered(tensor):  # for the forward and the backward pass, and a gradient to scatter
            moved[gathering] += 3 * BFLOAT16 * gathered * parts
        moved["data"] += 2 * BFLOAT16 * tensor.size / share.shards(tensor) * parts
    again = sum(policy in ("full", "offload") for policy in layout.remat) / len(layout.remat)
    for stack in workload.stacks:
        sums = (3 if stack.crossed else 2) * 2 + again * (2 if stack.crossed else 1)
        moved["tensor"] += 2 * BFLOAT16 * share.tokens(stack) * stack.width * stack.layers * sums * parts
        if share.parts(stack) > 1:  # keys and values, and their gradients
            pair = 2 * share.rows * stack.length * share.split(stack.kv_heads) * stack.head_dim
            moved["sequence"] += (2 + again) * BFLOAT16 * pair * stack.layers * parts
    of_layer = {"data": 1, "fsdp": 3, "sequence": 6, "tensor": 5}
    collectives = {axis: parts * count * layers for axis, count in of_layer.items()}
    seconds = {}
    for axis, count in collectives.items():
        size = share.mesh[axis]
        if size == 1:
            continue
        bandwidth = axis_bandwidth(axis, share.mesh, slice_) * _NETWORK_RATE[platform]
        seconds[axis] = moved[axis] * (size - 1) / size / bandwidth + count * _ring_seconds(axis, share.mesh, slice_)
    return seconds


def _ring_seconds(axis: str, mesh: Mapping[str, int], slice_: Slice) -> float:
    """Returns what a collective of an axis takes however little it moves: once around."""
    chip, size = slice_.chip, mesh[axis]
    if chip.torus:
        return _HOP["tpu"] * sum(_sides(size, slice_.shape))
    within = min(size, max(1, slice_.shape[1] // _inner(axis, mesh)))
    return _STEP_IN_NODE * within + _HOP["cuda"] * (size // within - 1)


def axis_bandwidth(axis: str, mesh: Mapping[str, int], slice_: Slice) -> float:
    """Returns the bytes/s at which a ring along a mesh axis sends, per device.

    GPUs lie in the order of the axes, the last one innermost: an axis within a node has NVLink; one over nodes has the
    network cards of as many devices of a node as it holds. TPUs have a link along each side of the torus that the axis
    lies along, and the one back where the side wraps around.
    """
    chip = slice_.chip
    inner = _inner(axis, mesh)
    if chip.torus:
        if axis == "data" and slice_.count > 1:
            return chip.inter_node
        sides = _sides(mesh[axis], slice_.shape)
        return chip.intra_node * max(1, sum(2 if chip.wraps(side) else 1 for side in sides))
    if inner * mesh[axis] <= slice_.shape[1]:
        return chip.intra_node
    return min(chip.intra_node, chip.inter_node * max(1, slice_.shape[1] // inner))


def _inner(axis: str, mesh: Mapping[str, int]) -> int:
    """Returns the devices along the axes within an axis."""
    return math.prod(mesh[name] for name in MESH_AXES[MESH_AXES.index(axis) + 1 :])


def _sides(size: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the fewest sides of a torus whose product is `size`; none where there are no such."""
    some = (sides for count in range(1, len(shape) + 1) for sides in itertools.combinations(shape, count))
    return next((sides for sides in some if math.prod(sides) == size), ())
