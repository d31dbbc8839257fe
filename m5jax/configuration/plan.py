"""`m5jax plan`: what a model needs, how long it takes and how it is laid out, before any device is paid for."""

import dataclasses
import math
from collections.abc import Sequence

from m5jax.configuration.gin_files import REPOSITORY, find_gin_file
from m5jax.configuration.model_sizes import MODELS, read_model
from m5jax.configuration.planned_model import PlannedModel
from m5jax.errors import UserError, unknown_name
from m5jax.evaluation.tables import MISSING, format_table
from m5jax.models import EncoderDecoderConfig
from partitioning import PartitioningError
from partitioning.ahead_of_time import OutOfMemory, compile_program
from partitioning.hardware import GIB
from partitioning.layout import Layout
from partitioning.mesh import describe_sizes
from partitioning.planner import Plan, largest_batch, longest_rows, search_plans, smallest_slice
from partitioning.rules import explain_replication, partition_spec, split_axes
from partitioning.shares import FLOAT32
from partitioning.slices import Slice, known_slices
from partitioning.topologies import topology_devices
from partitioning.workload import Workload

PLAN_HEADERS = ("mesh", "parts", "remat", "optimizer", "GiB", "s a step", "tokens/s", "of peak", "limit")
VERIFIED_HEADERS = ("plan", "GiB predicted", "GiB compiled", "ratio", "compiled in")
RULE_HEADERS = ("parameter", "shape", "logical axes", "mesh axes", "MiB a device", "not split")
_HOUR = 3600.0
_UNITS = {"h": _HOUR, "d": 24 * _HOUR, "w": 7 * 24 * _HOUR}


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a run has to do and may cost.

    Attributes:
      tokens: to train on.
      within: seconds it may take; None: any.
      price: of an accelerator-hour; None: not known.
    """

    tokens: float
    within: float | None = None
    price: float | None = None


def find_model(name: str, length: int) -> PlannedModel:
    """Returns a model by the name of its file in `gin_configs/models`, or by the path of a gin file.

    Raises:
      UserError: there is none, or it describes no model.
    """
    known = {path.stem: path for path in (REPOSITORY / MODELS).glob("*.gin")}
    if name.endswith(".gin"):
        path = find_gin_file(name)
    elif name in known:
        path = known[name]
    else:
        raise unknown_name("model", name, known)
    return PlannedModel(path.stem, path, read_model(path), length)


def parse_duration(text: str) -> float:
    """Returns the seconds of a duration such as 36h, 2d or 1.5w; raises UserError for another text."""
    try:
        seconds = float(text[:-1]) * _UNITS[text[-1]]
    except (ValueError, KeyError, IndexError):
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise UserError(f"duration {text!r}; allowed: a number of hours, days or weeks, such as 36h, 2d, 1.5w")
    return seconds


def plans_table(plans: Sequence[Plan], workload: Workload) -> str:
    """Returns the plans as a table, each with what limits it."""
    rows = [
        [
            _mesh(plan.layout),
            str(plan.layout.accumulation * plan.layout.microbatches),
            "+".join(plan.layout.remat),
            plan.layout.optimizer,
            f"{plan.memory.total / GIB:.1f}",
            f"{plan.time.total:.3g}",
            f"{plan.rows_per_second * workload.tokens:,.0f}",
            f"{plan.utilization(workload):.0%}",
            plan.time.limit,
        ]
        for plan in plans
    ]
    return format_table(PLAN_HEADERS, rows, ["left", "right", "left", "left", *["right"] * 4, "left"])


def parts_text(plan: Plan) -> str:
    """Returns where a plan's bytes and seconds go."""
    memory = {
        "parameters": plan.memory.parameters,
        "optimizer": plan.memory.optimizer,
        "gradients": plan.memory.gradients,
        "kept activations": plan.memory.kept,
        "working": plan.memory.working,
        "on the host": plan.memory.host,
    }
    seconds = {
        "products": plan.time.products - plan.time.recomputation,
        "recomputation": plan.time.recomputation,
        "memory": plan.time.memory,
        "pipeline bubble": plan.time.bubble,
        **{f"{axis} network": exposed for axis, exposed in plan.time.exposed.items()},
    }
    lines = [f"GiB a device, of {plan.slice_.chip.memory / GIB:.1f}: {_parts({k: v / GIB for k, v in memory.items()})}"]
    return "\n".join([*lines, f"seconds a step: {_parts(seconds)}"])


def budget_text(plan: Plan, workload: Workload, budget: Budget) -> str:
    """Returns what a number of tokens takes: days, accelerator-hours and money."""
    seconds = training_seconds(plan, workload, budget.tokens)
    hours = seconds / _HOUR * plan.slice_.size
    money = "" if budget.price is None else f", {hours * budget.price:,.0f} at {budget.price:g} an hour"
    return f"{budget.tokens:.3g} tokens: {_duration(seconds)}, {hours:,.0f} accelerator-hours{money}"


def training_seconds(plan: Plan, workload: Workload, tokens: float) -> float:
    """Returns the seconds that a number of tokens takes, without evaluation, checkpoints and failures."""
    return tokens / (plan.rows_per_second * workload.tokens)


def within_text(workload: Workload, plan: Plan, budget: Budget, optimizers: Sequence[str]) -> str:
    """Returns whether a plan ends within the budget's time, and the smallest slice of its chip on which one does."""
    assert budget.within is not None
    in_time = training_seconds(plan, workload, budget.tokens) <= budget.within
    said = f"{'ends' if in_time else 'does not end'} within {_duration(budget.within)}"
    for candidate in known_slices(plan.slice_.chip, 2**16):
        try:
            best = search_plans(workload, candidate, plan.batch_size, optimizers)
        except PartitioningError:  # a batch that it does not split
            continue
        if best and training_seconds(best[0], workload, budget.tokens) <= budget.within:
            return f"{said}; the smallest that does: {candidate.name} ({candidate.size} devices)"
    return f"{said}; no {plan.slice_.chip.name} that splits {plan.batch_size:,} rows a step does"


def limits_text(model: PlannedModel, workload: Workload, slice_: Slice, rows: int, optimizers: Sequence[str]) -> str:
    """Returns the smallest slice, the largest batch and the longest rows of a model."""
    smallest = smallest_slice(workload, slice_, rows, optimizers)
    batch = largest_batch(workload, slice_, optimizers)
    longest = longest_rows(
        lambda length: dataclasses.replace(model, length=length).workload(), slice_, rows, optimizers
    )
    return "\n".join(
        (
            f"smallest {slice_.chip.name} on which it fits: {smallest.name if smallest else MISSING}",
            f"largest batch in one part: {batch:,} rows of {model.length} tokens",
            f"longest rows of a batch of {rows:,}: {longest:,} tokens",
        )
    )


def verify_plans(model: PlannedModel, plans: Sequence[Plan]) -> str:
    """Compiles plans for their hardware and returns the compiler's bytes beside those predicted.

    Raises:
      PartitioningError: the compiler is not installed.
    """
    rows = []
    for plan in plans:
        chip = plan.slice_.chip
        lowered = model.lower(plan.layout, topology_devices(plan.slice_), plan.batch_size)
        try:
            compiled = compile_program(lowered, chip.platform)
        except OutOfMemory as error:
            rows.append([_mesh(plan.layout), f"{plan.memory.total / GIB:.2f}", str(error), MISSING, MISSING])
            continue
        over = " (over)" if compiled.memory > chip.memory else ""
        rows.append(
            [
                _mesh(plan.layout),
                f"{plan.memory.total / GIB:.2f}",
                f"{compiled.memory / GIB:.2f}{over}",
                f"{plan.memory.total / compiled.memory:.2f}",
                f"{compiled.seconds:.0f} s",
            ]
        )
    return format_table(VERIFIED_HEADERS, rows, ["left", *["right"] * 4])


def rules_table(workload: Workload, layout: Layout) -> str:
    """Returns where each parameter lives: its logical axes, the mesh axes they map to, bytes, why it is whole."""
    mesh = layout.mesh.sizes
    rows = []
    for tensor in workload.tensors:
        spec = partition_spec(tensor.axes, tensor.shape, mesh)
        names = ["+".join(split_axes(entry)) or "-" for entry in spec]
        devices = math.prod(mesh[name] for entry in spec for name in split_axes(entry))
        size = FLOAT32 * tensor.size / devices / 2**20
        shape = " x ".join(map(str, tensor.shape))
        why = "; ".join(explain_replication(tensor.axes, tensor.shape, mesh))
        rows.append([tensor.path, shape, ", ".join(tensor.axes), ", ".join(names), f"{size:,.2f}", why])
    return format_table(RULE_HEADERS, rows, ["left", "right", "left", "left", "right", "left"])


def plan_gin(model: PlannedModel, plan: Plan) -> str:
    """Returns the gin file of a plan, to be given to `m5jax train` after an experiment's."""
    config, layout = model.config, plan.layout
    name = type(config).__name__
    objective = "SequenceToSequence" if isinstance(config, EncoderDecoderConfig) else "LanguageModel"
    remat = repr(layout.remat[0]) if len(layout.remat) == 1 else repr(layout.remat)
    try:
        path = model.path.resolve().relative_to(REPOSITORY)
    except ValueError:
        path = model.path.resolve()
    lines = [
        f"# {model.name} on {plan.slice_.name}, predicted: {plan.memory.total / GIB:.1f} GiB a device, "
        f"{plan.time.total:.3g} s a step.",
        f"# Planned with {layout.optimizer}, which the experiment has to use.",
        "#   m5jax train --gin_file=EXPERIMENT.gin --gin_file=THIS.gin --gin.RUN_DIR=\"'runs/a'\"",
        "",
        f"include '{path}'",
        "",
        f"BATCH_SIZE = {plan.batch_size}",
        f"LENGTH = {model.length}",
        *([] if name == "EncoderConfig" else [f"TARGETS_LENGTH = {min(model.predicted, max(1, model.length - 4))}"]),
        *(f"MeshConfig.{axis} = {size}" for axis, size in layout.mesh.sizes.items()),
        f"TrainerConfig.accumulation = {layout.accumulation}",
        f"{name}.remat = {remat}",
        f"{name}.pipeline_microbatches = {layout.microbatches if layout.mesh.pipeline > 1 else 0}",
        f"{name}.pipeline_rounds = {layout.rounds}",
        f"{objective}.chunk_length = {layout.chunk}",
    ]
    return "\n".join(lines) + "\n"


def _mesh(layout: Layout) -> str:
    return describe_sizes(list(layout.mesh.sizes.values()))


def _parts(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items() if value > 0)


def _duration(seconds: float) -> str:
    hours = seconds / _HOUR
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"
