"""Whether a configured run suits the hardware that it is to be launched on."""

import math
from pathlib import Path

from jax.sharding import AbstractMesh

from m5jax.configuration.planned_model import PlannedModel
from m5jax.configuration.run import Run
from m5jax.errors import UserError
from m5jax.models.mesh_checks import check_mesh
from m5jax.models.stack import remat_cycle, wanted_microbatches
from m5jax.training.optimizers import AdamW
from partitioning.layout import Layout
from partitioning.mesh import MESH_AXES, MeshConfig, check_batch, resolve_sizes
from partitioning.planner import make_plan
from partitioning.slices import Slice

GIB = 2**30


def check_fits(run: Run, slice_: Slice) -> str:
    """Returns in words what memory a device is predicted to need.

    Raises:
      PartitioningError: the run's mesh, model and batch do not divide over the devices.
      UserError: more memory is predicted than a device has.
    """
    sizes = resolve_sizes(run.mesh, slice_.size)
    mesh = AbstractMesh(sizes, MESH_AXES)
    check_batch(mesh, run.data.batch_size, run.trainer.accumulation)
    check_mesh(run.model, mesh, run.data.length)
    layout = Layout(
        MeshConfig(**dict(zip(MESH_AXES, sizes, strict=True))),
        run.trainer.accumulation,
        remat_cycle(run.model.remat),
        "adamw" if isinstance(run.optimizer, AdamW) else "adafactor",
        run.objective.chunk_length or run.data.length,
        *_microbatches_and_rounds(run, mesh),
    )
    model = PlannedModel("", Path(), run.model, run.data.length)
    plan = make_plan(model.workload(), slice_, run.data.batch_size, layout)
    needed, memory = plan.memory.total / GIB, slice_.chip.memory / GIB
    if needed > memory:
        raise UserError(
            f"a device of {slice_.name} is predicted to need {needed:.1f} GiB of its {memory:.1f}; m5jax plan finds "
            "layouts that fit"
        )
    return f"{needed:.1f} of {memory:.1f} GiB a device predicted"


def _microbatches_and_rounds(run: Run, mesh: AbstractMesh) -> tuple[int, int]:
    stages = mesh.shape["pipeline"]
    if stages == 1:
        return 1, 1
    rows = run.data.batch_size // run.trainer.accumulation // mesh.shape["data"] // mesh.shape["fsdp"]
    return math.gcd(wanted_microbatches(run.model, stages), rows), run.model.pipeline_rounds
