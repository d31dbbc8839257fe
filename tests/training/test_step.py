"""The training step: accumulation, the mean over predicted tokens, donation, and meshes that agree."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from m5jax.objectives import LanguageModel
from m5jax.training.checkpoints import Checkpoints
from m5jax.training.keep_policy import KeepPolicy
from m5jax.training.metrics import means
from m5jax.training.state import abstract_state, state_shardings
from m5jax.training.step import jit_evaluation_step, jit_train_step, make_train_step
from partitioning import batch_sharding, global_batch, tree_shardings
from tests.training.tiny import (
    OPTIMIZER,
    TinyBatches,
    assert_same,
    eight_devices,
    encoder,
    host_batch,
    one_device,
    tiny_state,
)

MODEL = encoder()
OBJECTIVE = LanguageModel(z_loss=1e-3)
MESHES = {"one": one_device, "eight": eight_devices}


@functools.cache
def jitted(name: str, accumulation: int = 1, dropout_rate: float = 0.0) -> tuple[Mesh, Any]:
    model = encoder(dropout_rate=dropout_rate)
    mesh = MESHES[name]()
    transformation = OPTIMIZER.make(model.logical_axes, model.width_multiple)
    shardings = state_shardings(model, abstract_state(model, transformation, mesh), mesh)
    step = make_train_step(model, OBJECTIVE, transformation, accumulation)
    return mesh, jit_train_step(step, shardings, mesh)


def curve(name: str, state: Any, first: int, last: int) -> tuple[Any, list[float]]:
    mesh, step = jitted(name)
    losses = []
    with jax.set_mesh(mesh):
        for index in range(first, last + 1):
            state, metrics = step(state, global_batch(mesh, host_batch(index)))
            losses.append(means(metrics)["loss"])
    return state, losses


@pytest.fixture(scope="module")
def state_of() -> Any:
    drawn = {name: tiny_state(MODEL, mesh())[1] for name, mesh in MESHES.items()}
    return lambda name: jax.tree.map(jnp.copy, drawn[name])


def test_the_gradient_is_of_the_mean_over_predicted_tokens(state_of: Any) -> None:
    mesh, step = jitted("one")
    state = state_of("one")
    batch = {name: jnp.asarray(array) for name, array in host_batch(1).items()}
    parameters = jax.device_get(state["parameters"])

    def mean_loss(parameters: Any) -> Any:
        module = MODEL.bind(parameters)
        hidden = module(batch["inputs"], batch["segment_ids"], batch["positions"])
        # All logits here, so that the gathering of masked positions is checked too.
        logits = module.masked_lm_head(hidden, module.embedding[...])
        places = (jnp.arange(len(hidden))[:, None], batch["predicted_positions"])
        log_probabilities = jax.nn.log_softmax(logits)[places]
        losses = -jnp.take_along_axis(log_probabilities, batch["targets"][..., None], axis=-1)[..., 0]
        normalizers = jax.nn.logsumexp(logits, axis=-1)[places]
        chosen = batch["loss_weights"] > 0
        return jnp.mean(losses + 1e-3 * normalizers**2, where=chosen), jnp.mean(losses, where=chosen)

    with jax.set_mesh(mesh):
        gradient, loss = jax.grad(mean_loss, has_aux=True)(parameters)
        new_state, metrics = step(state, batch)
    got = means(metrics)
    assert got["loss"] == pytest.approx(float(loss), rel=1e-5)
    assert got["gradient_norm"] == pytest.approx(float(optax.global_norm(gradient)), rel=1e-4)
    assert float(metrics["loss"].weight) == batch["loss_weights"].sum()
    first_moments = next(node.mu for node in new_state["optimizer"][1] if hasattr(node, "mu"))
    clipped = jax.tree.map(lambda g: g * min(1.0, 1.0 / got["gradient_norm"]), gradient)
    jax.tree.map(
        lambda mu, g: np.testing.assert_allclose(mu / (1 - OPTIMIZER.beta1), g, rtol=1e-3, atol=1e-6),
        first_moments,
        clipped,
    )


def test_accumulation_changes_nothing(state_of: Any) -> None:
    mesh, whole = jitted("one")
    _, parts = jitted("one", accumulation=4)
    batch = host_batch(2)
    weights = batch["loss_weights"].reshape(2, 4, -1).sum(axis=(0, 2))
    assert len(set(weights)) > 1  # parts of different weight
    with jax.set_mesh(mesh):
        expected, expected_metrics = whole(state_of("one"), global_batch(mesh, batch))
        state, metrics = parts(state_of("one"), global_batch(mesh, batch))
    assert means(metrics) == pytest.approx(means(expected_metrics), rel=1e-5)
    moments, expected_moments = (
        next(node.mu for node in found["optimizer"][1] if hasattr(node, "mu")) for found in (state, expected)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7), moments, expected_moments)


def test_the_state_is_donated(state_of: Any) -> None:
    mesh, step = jitted("one")
    state = state_of("one")
    with jax.set_mesh(mesh):
        new_state, _ = step(state, global_batch(mesh, host_batch(1)))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state["parameters"], state["optimizer"])))
    assert int(new_state["step"]) == 1


def test_eight_devices_compute_the_gradients_of_one() -> None:
    """A curve can hide a wrong gradient of few parameters; XLA has computed one on this very mesh."""
    parameters = jax.device_get(tiny_state(MODEL, one_device())[1]["parameters"])

    def loss(parameters: Any, batch: Any) -> Any:
        return OBJECTIVE(MODEL.bind(parameters), batch, None)[0].total

    gradients = []
    for mesh in (one_device(), eight_devices()):
        shardings = tree_shardings(mesh, MODEL.abstract_parameters, MODEL.logical_axes)
        with jax.set_mesh(mesh):
            gradient = jax.jit(jax.grad(loss), in_shardings=(shardings, batch_sharding(mesh)), out_shardings=shardings)
            gradients.append(jax.device_get(gradient(parameters, global_batch(mesh, host_batch(1)))))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *gradients)


def test_eight_devices_learn_as_one_does_and_read_its_checkpoints(state_of: Any, tmp_path: Any) -> None:
    """20 steps to 1e-4, and from a checkpoint of step 10 of either mesh the other goes on alike."""
    halves, curves = {}, {}
    for name, other in (("one", "eight"), ("eight", "one")):
        halves[name], losses = curve(name, state_of(name), 1, 10)
        with Checkpoints(tmp_path / name, KeepPolicy()) as checkpoints:
            checkpoints.save(10, halves[name], TinyBatches())
            checkpoints.wait()
            abstract = abstract_state(MODEL, OPTIMIZER.make(MODEL.logical_axes, MODEL.width_multiple), MESHES[other]())
            moved = checkpoints.restore_newest(abstract, TinyBatches())
        assert_same(moved, halves[name])
        curves[name] = losses + curve(name, halves[name], 11, 20)[1]
        np.testing.assert_allclose(curve(other, moved, 11, 20)[1], curves[name][10:], rtol=0, atol=1e-4)
    np.testing.assert_allclose(curves["eight"], curves["one"], rtol=0, atol=1e-4)
    assert curves["one"][-1] < curves["one"][0] - 0.05  # something was learned


def test_dropout_differs_between_steps_and_stops_in_evaluation(state_of: Any) -> None:
    model = encoder(dropout_rate=0.5)
    mesh, step = jitted("one", dropout_rate=0.5)
    shardings = tree_shardings(mesh, model.abstract_parameters, model.logical_axes)
    evaluate = jit_evaluation_step(model, OBJECTIVE, shardings, mesh)
    batch = global_batch(mesh, host_batch(1))

    def loss_at(number: int) -> float:
        state = state_of("one")
        state["step"] = jax.device_put(jnp.int32(number), state["step"].sharding)
        return means(step(state, batch)[1])["loss"]

    with jax.set_mesh(mesh):
        assert loss_at(3) == loss_at(3)
        assert loss_at(3) != loss_at(4)
        parameters = state_of("one")["parameters"]
        assert means(evaluate(parameters, batch)) == means(evaluate(parameters, batch))
