"""Whether training moves a wide model as far as a narrow one, which the maximal-update parametrization is for."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from m5jax.models import FunctionalModel
from m5jax.objectives import Batch, Objective
from m5jax.training.optimizers import Optimizer
from m5jax.training.state import init_state
from m5jax.training.step import make_train_step

StatesOf = Callable[[Any, Batch], Array]


def measure_changes(
    model: FunctionalModel,
    objective: Objective,
    optimizer: Optimizer,
    batch: Batch,
    states_of: StatesOf,
    steps: int,
    seed: int,
) -> dict[str, list[float]]:
    """Returns how far training on one batch moves a model from its start: the mean absolute change of its last states
    and of its logits after each step (the coordinate check of arXiv 2203.03466, appendix D.1).

    Args:
      model: without dropout.
      objective: of the training.
      optimizer: whose rate the steps take.
      batch: what every step trains on.
      states_of: of a bound model and a batch, the states that logits are made of.
      steps: how many.
      seed: of the model's parameters.
    """
    transformation = optimizer.make(model.logical_axes, model.width_multiple)
    step = jax.jit(make_train_step(model, objective, transformation))

    @jax.jit
    def outputs(parameters: Any) -> dict[str, Array]:
        module = model.bind(parameters)
        states = states_of(module, batch)
        return {"states": states.astype(jnp.float32), "logits": module.logits(states)}

    state = jax.jit(lambda key: init_state(model, transformation, key))(jax.random.key(seed))
    start = outputs(state["parameters"])
    changes: dict[str, list[float]] = {name: [] for name in start}
    for _ in range(steps):
        state, _ = step(state, batch)
        for name, now in outputs(state["parameters"]).items():
            changes[name].append(float(jnp.mean(jnp.abs(now - start[name]))))
    return changes


def growth(widths: Sequence[int], sizes: Sequence[float]) -> float:
    """Returns the power of the width with which sizes grow, fitted by least squares: 0 where they do not."""
    return float(np.polyfit(np.log(widths), np.log(sizes), 1)[0])
