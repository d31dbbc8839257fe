"""One training step and one evaluation step: pure functions, jitted once over a mesh."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from m5jax.models import FunctionalModel, Parameters
from m5jax.objectives import Batch, Objective, Sums
from m5jax.training.state import TrainState
from partitioning import batch_sharding

Metrics = dict[str, Sums]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
EvaluationStep = Callable[[Parameters, Batch], Metrics]


def make_train_step(
    model: FunctionalModel,
    objective: Objective,
    transformation: optax.GradientTransformation,
    accumulation: int = 1,
) -> TrainStep:
    """Returns the pure step: gradients of the mean loss over all that a batch predicts, then the update.

    Args:
      model: the model.
      objective: the loss.
      transformation: the optimizer.
      accumulation: parts a batch is cut into, one after the other, to fit memory; the result is that of one part.
    """

    def summed_loss(trained: Parameters, whole: Parameters, batch: Batch, keys: Any) -> tuple[Any, tuple[Any, Metrics]]:
        loss, metrics = objective(model.bind(model.with_trained(whole, trained)), batch, keys)
        return loss.total, (loss.weight, metrics)

    gradient = jax.grad(summed_loss, has_aux=True)

    def accumulate(parameters: Parameters, batch: Batch, keys: Any) -> tuple[Parameters, tuple[Any, Metrics]]:
        trained = model.trained_part(parameters)
        if accumulation == 1:
            return gradient(trained, parameters, batch, keys)
        # Rows are dealt out so that each part keeps its rows on the devices that hold them.
        parts = jax.tree.map(lambda x: x.reshape(-1, accumulation, *x.shape[1:]).swapaxes(0, 1), (batch, keys))

        def add_part(total: Any, part: tuple[Batch, Any]) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, gradient(trained, parameters, *part)), None

        shapes = jax.eval_shape(gradient, trained, parameters, *jax.tree.map(lambda x: x[0], parts))
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return jax.lax.scan(add_part, zeros, parts)[0]

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state["rng"]), state["step"])
        # One a row, so that dropout is the same however rows are cut into parts.
        keys = jax.random.split(key, len(batch["inputs"]))
        gradients, (weight, metrics) = accumulate(state["parameters"], batch, keys)
        divisor = jnp.where(weight > 0, weight, 1.0)
        gradients = jax.tree.map(lambda g: g / divisor, gradients)
        trained = model.trained_part(state["parameters"])
        updates, optimizer = transformation.update(gradients, state["optimizer"], trained)
        updated = optax.apply_updates(trained, updates)
        metrics["gradient_norm"] = Sums(optax.global_norm(gradients), jnp.ones(()))
        metrics["weight_norm"] = Sums(optax.global_norm(updated), jnp.ones(()))
        new_state = TrainState(
            step=state["step"] + 1,
            parameters=model.with_trained(state["parameters"], updated),
            optimizer=optimizer,
            rng=state["rng"],
        )
        return new_state, metrics

    return train_step


def jit_train_step(train_step: TrainStep, shardings: Any, mesh: Mesh) -> jax.stages.Wrapped:
    """Returns the step compiled for `mesh`: state donated and laid out as `shardings`, metrics replicated."""
    return jax.jit(
        train_step,
        donate_argnums=0,
        in_shardings=(shardings, batch_sharding(mesh)),
        out_shardings=(shardings, NamedSharding(mesh, PartitionSpec())),
    )


def jit_evaluation_step(model: FunctionalModel, objective: Objective, shardings: Any, mesh: Mesh) -> EvaluationStep:
    """Returns metrics of a batch without dropout, compiled for `mesh`."""

    def evaluation_step(parameters: Parameters, batch: Batch) -> Metrics:
        return objective(model.bind(parameters), batch, None)[1]

    return jax.jit(
        evaluation_step,
        in_shardings=(shardings, batch_sharding(mesh)),
        out_shardings=NamedSharding(mesh, PartitionSpec()),
    )
