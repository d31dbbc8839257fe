"""Metrics of a model on held-out batches, by name."""

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from m5jax.models import FunctionalModel, Parameters
from m5jax.objectives import Objective
from m5jax.training.metrics import add_sums, means
from m5jax.training.step import Metrics, jit_evaluation_step
from partitioning import global_batch, tree_shardings

HeldOut = Mapping[str, Sequence[dict[str, np.ndarray]]]


def make_evaluate(
    model: FunctionalModel, objective: Objective, mesh: Mesh, held_out: HeldOut
) -> Callable[[Parameters], dict[str, float]]:
    """Returns a function from parameters to `evaluation/NAME/METRIC`, a mean over all of NAME's weighted targets.

    Args:
      model: the model.
      objective: its metrics are reported.
      mesh: where parameters live.
      held_out: this process's batches by name, equally many in each process.
    """
    shardings = tree_shardings(mesh, model.abstract_parameters, model.logical_axes)
    step = jit_evaluation_step(model, objective, shardings, mesh)

    def evaluate(parameters: Parameters) -> dict[str, float]:
        values: dict[str, float] = {}
        with jax.set_mesh(mesh):
            for name, batches in held_out.items():
                sums: Metrics | None = None
                for batch in batches:
                    metrics = step(parameters, global_batch(mesh, batch))
                    sums = metrics if sums is None else add_sums(sums, metrics)
                values |= {f"evaluation/{name}/{metric}": value for metric, value in means(sums or {}).items()}
        return values

    return evaluate
