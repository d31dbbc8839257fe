"""The training step as a program for a mesh whose devices need not be here."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from m5jax.models import FunctionalModel
from m5jax.objectives import Objective
from m5jax.training.optimizers import Optimizer
from m5jax.training.state import abstract_state
from m5jax.training.step import jit_train_step, make_train_step
from partitioning import batch_sharding


def lower_train_step(
    model: FunctionalModel,
    objective: Objective,
    optimizer: Optimizer,
    mesh: Mesh,
    batch: Mapping[str, tuple[tuple[int, ...], Any]],
    accumulation: int = 1,
) -> jax.stages.Lowered:
    """Returns the step of a global batch, given the shape and type of each of its arrays, ready to be compiled."""
    transformation = optimizer.make(model.logical_axes, model.width_multiple)
    state = abstract_state(model, transformation, mesh)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    layout = batch_sharding(mesh)
    arrays = {name: jax.ShapeDtypeStruct(shape, dtype, sharding=layout) for name, (shape, dtype) in batch.items()}
    step = make_train_step(model, objective, transformation, accumulation)
    with jax.set_mesh(mesh):
        return jit_train_step(step, shardings, mesh).lower(state, arrays)
