"""Searches the layouts of a training step for the fastest that fit."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

from partitioning.errors import PartitioningError
from partitioning.layout import OPTIMIZERS, Layout
from partitioning.memory_model import Memory, step_memory
from partitioning.mesh import MESH_AXES, MeshConfig
from partitioning.slices import Slice, known_slices
from partitioning.time_model import StepTime, step_time
from partitioning.workload import Workload

POLICIES = ("none", "dots", "attention_saved", "full", "offload")
FILLED = 0.9  # of a device's memory: predictions are that exact, and runtimes need some
_CHUNK_TOKENS = 2048  # predicted tokens of a device whose logits are held together
_ROUNDS = (1, 2)  # of micro-batches through the stages of a pipeline
_PARTS_A_STAGE = (1, 4, 16)  # micro-batches
_MOST_STAGES = 16
_FEWEST_TOKENS = 512  # tokens of a row on a device
_MOST_DEVICES = 16_384
_LONGEST_POWER = 20  # a million tokens
_ADAMW_PREFERENCE = 0.03  # time that AdamW may take longer than Adafactor


@dataclasses.dataclass(frozen=True)
class Plan:
    """A layout of a step and what it is predicted to cost."""

    slice_: Slice
    batch_size: int
    layout: Layout
    memory: Memory
    time: StepTime

    @property
    def rows_per_second(self) -> float:
        return self.batch_size / self.time.total

    def utilization(self, workload: Workload) -> float:
        """Returns the share of the peak that the products a model needs reach (model FLOP utilization)."""
        peak = self.slice_.chip.peak["bfloat16"] * self.slice_.size
        return self.rows_per_second * workload.flops / peak

    @property
    def fits(self) -> bool:
        """Whether the predicted bytes leave a device, and its host, room."""
        chip = self.slice_.chip
        return self.memory.total <= FILLED * chip.memory and self.memory.host <= FILLED * chip.host_memory


def make_plan(workload: Workload, slice_: Slice, batch_size: int, layout: Layout) -> Plan:
    """Returns what a layout is predicted to cost."""
    memory = step_memory(workload, layout, slice_.chip, batch_size)
    return Plan(slice_, batch_size, layout, memory, step_time(workload, layout, slice_, batch_size))


def search_plans(
    workload: Workload, slice_: Slice, batch_size: int, optimizers: Sequence[str] = OPTIMIZERS
) -> list[Plan]:
    """Returns plans that fit, the fastest first: of each mesh and policy the one with the fewest parts, of those with
    a pipeline the fastest.

    Raises:
      PartitioningError: no mesh of the slice splits the model and the batch.
    """
    meshes = [mesh for mesh in slice_meshes(slice_) if _divides(workload, mesh, batch_size)]
    if not meshes:
        raise PartitioningError(
            f"no mesh of {slice_.name} splits the model and a batch of {batch_size} rows; a multiple of {slice_.size} "
            "rows splits best"
        )
    plans = [
        plan
        for mesh in meshes
        for policy in POLICIES
        for optimizer in optimizers
        if (plan := _fewest_parts(workload, slice_, batch_size, Layout(mesh, 1, (policy,), optimizer)))
    ]
    return sorted(plans, key=_cost)


def best_plans(
    workload: Workload, slice_: Slice, batch_size: int, optimizers: Sequence[str] = OPTIMIZERS
) -> list[Plan]:
    """Returns `search_plans`.

    Raises:
      PartitioningError: as there, or none fits; the message names the smallest slice on which one does.
    """
    plans = search_plans(workload, slice_, batch_size, optimizers)
    if plans:
        return plans
    smallest = smallest_slice(workload, slice_, batch_size, optimizers)
    needed = f"more than {_MOST_DEVICES} devices"
    if smallest:
        needed = f"{smallest.name} ({smallest.size} devices), with a batch that they divide"
    raise PartitioningError(f"the model does not fit on {slice_.name} in any layout; needed: {needed}")


def smallest_slice(
    workload: Workload, slice_: Slice, batch_size: int, optimizers: Sequence[str] = OPTIMIZERS
) -> Slice | None:
    """Returns the smallest slice of a chip on which some layout fits; None where there is none."""
    for candidate in known_slices(slice_.chip, _MOST_DEVICES):
        rows = math.lcm(batch_size, candidate.size) if batch_size % candidate.size else batch_size
        try:
            if search_plans(workload, candidate, rows, optimizers):
                return candidate
        except PartitioningError:
            continue
    return None


def largest_batch(workload: Workload, slice_: Slice, optimizers: Sequence[str] = OPTIMIZERS) -> int:
    """Returns the most rows, a power of two times the devices, that fit a step in one part; 0: not even one each."""
    return (
        _largest(
            lambda rows: any(
                plan.layout.accumulation * plan.layout.microbatches == 1
                for plan in _plans_or_none(workload, slice_, rows * slice_.size, optimizers)
            )
        )
        * slice_.size
    )


def longest_rows(
    workload_of: Callable[[int], Workload], slice_: Slice, batch_size: int, optimizers: Sequence[str] = OPTIMIZERS
) -> int:
    """Returns the most tokens a row, a power of two, with which some layout fits; 0: none does."""
    lengths = (2**power for power in range(_LONGEST_POWER, -1, -1))
    fitting = (n for n in lengths if _plans_or_none(workload_of(n), slice_, batch_size, optimizers))
    return next(fitting, 0)


def _largest(fits: Callable[[int], bool]) -> int:
    """Returns the largest power of two that fits; 0 where 1 does not."""
    size = 0
    while size < 2**24 and fits(max(1, 2 * size)):
        size = max(1, 2 * size)
    return size


def _plans_or_none(workload: Workload, slice_: Slice, batch_size: int, optimizers: Sequence[str]) -> list[Plan]:
    try:
        return search_plans(workload, slice_, batch_size, optimizers)
    except PartitioningError:
        return []


def _cost(plan: Plan) -> float:
    return plan.time.total * (1 if plan.layout.optimizer == "adamw" else 1 + _ADAMW_PREFERENCE)


def _fewest_parts(workload: Workload, slice_: Slice, batch_size: int, layout: Layout) -> Plan | None:
    rows = batch_size // (layout.mesh.data * layout.mesh.fsdp)
    if layout.mesh.pipeline > 1:
        return _best_microbatches(workload, slice_, batch_size, layout)
    for accumulation in _divisors(rows):
        chunk = _chunk(workload.head.positions, rows // accumulation)
        plan = make_plan(
            workload, slice_, batch_size, dataclasses.replace(layout, accumulation=accumulation, chunk=chunk)
        )
        if plan.fits:
            return plan
    return None


def _best_microbatches(workload: Workload, slice_: Slice, batch_size: int, layout: Layout) -> Plan | None:
    """Returns the fastest plan of a pipeline that fits, all rows in one part of the batch."""
    stages = layout.mesh.pipeline
    rows = batch_size // (layout.mesh.data * layout.mesh.fsdp)
    chunk = _chunk(workload.head.positions, rows // stages)
    found = []
    for rounds in _ROUNDS:
        if any(stack.layers % (stages * rounds) for stack in workload.stacks):
            continue
        for microbatches in (stages * parts for parts in _PARTS_A_STAGE):
            if rows % microbatches == 0:
                tried = dataclasses.replace(layout, chunk=chunk, microbatches=microbatches, rounds=rounds)
                found.append(make_plan(workload, slice_, batch_size, tried))
    return min((plan for plan in found if plan.fits), key=_cost, default=None)


def _chunk(positions: float, rows: int) -> int:
    """Returns into how long parts the predicted positions of a row are cut, nearly equal ones."""
    most = max(1, _CHUNK_TOKENS // rows)
    return math.ceil(max(1.0, positions) / math.ceil(max(1.0, positions) / most))


def slice_meshes(slice_: Slice) -> Iterator[MeshConfig]:
    """Yields the meshes that a slice can hold: of TPUs, axes are products of whole sides of the torus."""
    if slice_.chip.torus:
        choices = itertools.product(MESH_AXES, repeat=len(slice_.shape))
        meshes = {_on_sides(slice_, axes): None for axes in choices}  # each mesh once
        yield from (mesh for mesh in meshes if mesh.pipeline <= _MOST_STAGES)
        return
    for tensor in _divisors(slice_.shape[1]):
        for sequence in _divisors(slice_.size // tensor):
            rest = slice_.size // tensor // sequence
            for pipeline in _divisors(slice_.shape[0]):  # over nodes
                if pipeline > _MOST_STAGES or rest % pipeline:
                    continue
                for fsdp in _divisors(rest // pipeline):
                    yield MeshConfig(rest // pipeline // fsdp, fsdp, tensor, sequence, pipeline)


def _on_sides(slice_: Slice, axes: Sequence[str]) -> MeshConfig:
    """Returns the mesh whose axes lie along the sides of a torus, an axis for each; `data` goes over slices too."""
    sizes = dict.fromkeys(MESH_AXES, 1) | {"data": slice_.count}
    for side, axis in zip(slice_.shape, axes, strict=True):
        sizes[axis] *= side
    return MeshConfig(**sizes)


def _divides(workload: Workload, mesh: MeshConfig, batch_size: int) -> bool:
    """Returns whether a mesh splits what it should: rows, heads, hidden units and vocabulary, states by `fsdp`, and
    tokens of long rows."""
    split = (n for stack in workload.stacks for n in (stack.heads, stack.mlp_hidden))
    first = workload.stacks[0]
    long = mesh.sequence == 1 or (first.length / mesh.sequence >= _FEWEST_TOKENS and first.length % mesh.sequence == 0)
    return (
        long
        # Nor is it worth to compute both views of layers that see near tokens, as stages side by side do.
        and (mesh.sequence * mesh.pipeline == 1 or not any(stack.local for stack in workload.stacks))
        and batch_size % (mesh.data * mesh.fsdp * mesh.pipeline) == 0
        and all(stack.layers % mesh.pipeline == 0 for stack in workload.stacks)
        and all(dimension % mesh.tensor == 0 for dimension in (*split, workload.head.vocab_size))
        and all(stack.width % (mesh.fsdp * mesh.sequence) == 0 for stack in workload.stacks)
    )


def _divisors(number: int) -> list[int]:
    small = [divisor for divisor in range(1, math.isqrt(number) + 1) if number % divisor == 0]
    return sorted({*small, *(number // divisor for divisor in small)})
