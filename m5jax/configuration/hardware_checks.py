"""Whether a configured run suits the hardware that it is to be launched on."""

from jax.sharding import AbstractMesh

from m5jax.configuration.planned_model import count_predictions, describe_workload
from m5jax.configuration.run import Run
from m5jax.errors import UserError
from m5jax.models.mesh_checks import check_mesh
from m5jax.models.stack import remat_cycle
from m5jax.training.optimizers import AdamW
from partitioning.hardware import GIB
from partitioning.layout import Layout
from partitioning.mesh import MESH_AXES, MeshConfig, check_batch, resolve_sizes
from partitioning.planner import make_plan
from partitioning.slices import Slice


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
    stages, sharing = mesh.shape["pipeline"], mesh.shape["data"] * mesh.shape["fsdp"]
    layout = Layout(
        MeshConfig(**mesh.shape),
        run.trainer.accumulation,
        remat_cycle(run.model.remat),
        "adamw" if isinstance(run.optimizer, AdamW) else "adafactor",
        run.objective.chunk_length or run.data.length,
        run.model.microbatches(stages, run.data.batch_size // run.trainer.accumulation // sharing),
        run.model.pipeline_rounds if stages > 1 else 1,
    )
    workload = describe_workload(run.model, run.data.length, count_predictions(run.model, run.data.length))
    plan = make_plan(workload, slice_, run.data.batch_size, layout)
    needed, memory = plan.memory.total / GIB, slice_.chip.memory / GIB
    if needed > memory:
        raise UserError(
            f"a device of {slice_.name} is predicted to need {needed:.1f} GiB of its {memory:.1f}; m5jax plan finds "
            "layouts that fit"
        )
    return f"{needed:.1f} of {memory:.1f} GiB a device predicted"
