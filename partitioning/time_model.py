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
_HIDDEN = {"pipeline": 0.0, "data": 0.7, "fsdp": 0.7, "sequence": 0.0, "tensor": 0.0, "host": 0.7}
_HOP = {"cuda": 5e-6, "tpu": 1e-6}  # seconds from node to node, or chip to chip
_STEP_IN_NODE = 1e-6  # seconds from GPU to GPU


@dataclasses.dataclass(frozen=True)
class StepTime:
    """Seconds of a step, by part.

    Attributes:
      products: matrix products, of them `recomputation` for the backward pass.
      memory: elementwise work, norms, softmax and the optimizer.
      bubble: that stages of a pipeline wait at its beginning and end.
      exposed: collectives of each mesh axis, and transfers to the host, that nothing hides.
    """

    products: float
    recomputation: float
    memory: float
    bubble: float
    exposed: Mapping[str, float]

    @property
    def total(self) -> float:
        return self.products + self.memory + self.bubble + sum(self.exposed.values())

    @property
    def limit(self) -> str:
        """What takes the most beside the products that the model needs."""
        parts = {"recomputation": self.recomputation, "memory bandwidth": self.memory, "pipeline bubble": self.bubble}
        parts |= {f"{axis} network": seconds for axis, seconds in self.exposed.items()}
        worst = max(parts, key=lambda name: parts[name])
        return worst if parts[worst] > 0.25 * (self.products - self.recomputation) else "products"


def step_time(
    workload: Workload, layout: Layout, slice_: Slice, batch_size: int, summed_once: bool = False
) -> StepTime:
    """Returns the seconds of a step of a global batch.

    Args:
      workload: of a row.
      layout: of the step.
      slice_: the devices.
      batch_size: rows a step.
      summed_once: gradients over `data` are added up once a step, as other trainers do; here it is once for each part.
    """
    share, chip = Share.of(layout, batch_size), slice_.chip
    rate = chip.peak["bfloat16"] * chip.matrix_rate * _PRODUCT_RATE[chip.platform]
    rows = share.rows * layout.accumulation
    head = workload.head.products * share.vocabulary(workload.head) / workload.head.vocab_size
    # Each device has a stage's layers, for all the rows of its stage.
    stacks = [(stack, share.tensor * share.parts(stack)) for stack in workload.stacks]
    again = sum(stack.recomputed_in_turn(layout.remat) / parts for stack, parts in stacks)
    needed = sum(stack.products / parts for stack, parts in stacks)
    recomputation = 2 * rows * (again + head) / rate
    products = 6 * rows * (needed + head) / rate + recomputation
    memory = _memory_seconds(workload, layout, share, chip)
    wasted = (layout.mesh.pipeline - 1) / (layout.rounds * layout.microbatches)
    bubble = wasted * rows * (6 * needed + 2 * again) / rate
    waiting = _network_seconds(workload, layout, share, slice_, summed_once)
    host = 2 * layout.accumulation * sum(offloaded(stack, layout, share) for stack in workload.stacks)
    if host:
        waiting["host"] = host / chip.host_bandwidth
    exposed = {axis: max(0.0, seconds - _HIDDEN[axis] * products) for axis, seconds in waiting.items()}
    return StepTime(products, recomputation, memory, bubble, exposed)


def _memory_seconds(workload: Workload, layout: Layout, share: Share, chip: Chip) -> float:
    # Forward, its recomputation, and the backward, which reads and writes twice as much.
    again = sum(policy in ("full", "offload", "attention_saved") for policy in layout.remat) / len(layout.remat)
    layers = layout.passes / (layout.mesh.pipeline * layout.rounds)  # of a stack's, by micro-batches
    activations = sum(_moved(stack, share, chip) * stack.layers for stack in workload.stacks) * layers * (3 + again)
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


def _network_seconds(
    workload: Workload, layout: Layout, share: Share, slice_: Slice, summed_once: bool
) -> dict[str, float]:
    """Returns the seconds that the collectives of each axis take by themselves."""
    platform, stages = slice_.chip.platform, layout.mesh.pipeline
    # How often a device runs its layers, and all of a stack's layers on one device would be run as often.
    parts, passes = layout.accumulation, layout.accumulation * layout.passes / layout.rounds
    moved = dict.fromkeys(MESH_AXES, 0.0)
    gathering = "fsdp" if share.mesh["fsdp"] > 1 else "sequence"
    layers = sum(stack.layers for stack in workload.stacks)
    for tensor in workload.tensors:
        gathered, times = tensor.size / share.gathered_shards(tensor), passes if tensor.stacked else parts
        if share.is_gathered(tensor):  # for the forward and the backward pass, and a gradient to scatter
            moved[gathering] += 3 * BFLOAT16 * gathered * times
        moved["data"] += 2 * BFLOAT16 * tensor.size / share.shards(tensor) * (1 if summed_once else times)
        if layout.rounds > 1 and tensor.stacked:  # to the stages that run them, and gradients back
            moved["pipeline"] += 2 * FLOAT32 * tensor.size / share.shards(tensor) * parts
    again = sum(policy in ("full", "offload") for policy in layout.remat) / len(layout.remat)
    for stack in workload.stacks:
        sums = (3 if stack.crossed else 2) * 2 + again * (2 if stack.crossed else 1)
        of_stage = stack.layers / stages
        states = BFLOAT16 * share.tokens(stack) * stack.width
        moved["tensor"] += 2 * states * of_stage * sums * passes
        if stages > 1:  # from stage to stage; at the ends all rows of a part to all stages, and their gradients
            moved["pipeline"] += 2 * states * (layout.passes + 2 * layout.microbatches) * parts
        if stack.biased:  # the gradient of a bias, of all rows
            scores = stack.length * stack.length / share.parts(stack)
            moved["data"] += 2 * FLOAT32 * share.split(stack.heads) * scores * parts
        if share.parts(stack) > 1:  # keys and values, and their gradients
            pair = 2 * share.stage_rows * stack.length * share.split(stack.kv_heads) * stack.head_dim
            moved["sequence"] += (2 + again) * BFLOAT16 * pair * of_stage * passes
    of_layer = {"data": 1, "fsdp": 3, "sequence": 6, "tensor": 5}
    collectives = {axis: passes * count * layers / stages for axis, count in of_layer.items()}
    collectives["pipeline"] = 2 * layout.passes * parts * len(workload.stacks)
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
