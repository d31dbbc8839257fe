"""AdamW against numpy, Adafactor against its published update."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from m5jax.errors import UserError
from m5jax.training.optimizers import Adafactor, AdamW, decay_mask
from m5jax.training.schedules import InverseSquareRoot
from m5jax.training.state import abstract_state
from tests.training.tiny import eight_devices, encoder

AXES = {
    "kernel": ("layers", "embed", "mlp"),
    "scale": ("layers", "embed"),
    "embedding": ("vocab", "embed"),
    "norm": ("embed",),
}
SHAPES = {"kernel": (2, 4, 3), "scale": (2, 4), "embedding": (5, 4), "norm": (4,)}
SCHEDULE = InverseSquareRoot(peak=0.1, warmup_steps=2)


def draw(seed: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: scale * random.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def rate(step: int) -> float:
    return 0.1 * step / 2 if step < 2 else 0.1 * (2 / step) ** 0.5


def test_only_matrices_decay() -> None:
    assert decay_mask(AXES) == {"kernel": True, "scale": False, "embedding": True, "norm": False}
    mask = decay_mask(encoder().logical_axes)
    assert mask["embedding"]
    assert mask["layers"]["attention"]["query"]
    assert not mask["layers"]["attention_norm"]["scale"]
    assert not mask["final_norm"]["scale"]


@pytest.mark.parametrize("clip_norm", [1.0, 0.0, 1e6])
def test_adamw_is_the_naive_one(clip_norm: float) -> None:
    beta1, beta2, epsilon, decay = 0.9, 0.95, 1e-6, 0.1
    transformation = AdamW(SCHEDULE, beta1, beta2, epsilon, decay, clip_norm).make(AXES, 1.0)
    parameters = jax.tree.map(jnp.asarray, draw(0))
    state = transformation.init(parameters)
    expected = {name: value.astype(np.float64) for name, value in draw(0).items()}
    first = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    second = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    for step in range(3):
        gradients = draw(step + 1, scale=2.0)
        updates, state = transformation.update(gradients, state, parameters)
        parameters = jax.tree.map(jnp.add, parameters, updates)
        norm = np.sqrt(sum(float(np.sum(g.astype(np.float64) ** 2)) for g in gradients.values()))
        for name, gradient in gradients.items():
            clipped = gradient * (min(1.0, clip_norm / norm) if clip_norm else 1.0)
            first[name] = beta1 * first[name] + (1 - beta1) * clipped
            second[name] = beta2 * second[name] + (1 - beta2) * clipped**2
            unbiased = first[name] / (1 - beta1 ** (step + 1)), second[name] / (1 - beta2 ** (step + 1))
            direction = unbiased[0] / (np.sqrt(unbiased[1]) + epsilon)
            if name in ("kernel", "embedding"):
                direction = direction + decay * expected[name]
            expected[name] = expected[name] - rate(step) * direction
    for name in SHAPES:
        np.testing.assert_allclose(parameters[name], expected[name], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_states_are_those_of_optax(decay: float) -> None:
    """So that checkpoints go on fitting."""
    mask, schedule = decay_mask(AXES), SCHEDULE.make()
    pairs = (
        (AdamW(SCHEDULE, weight_decay=decay, clip_norm=0.0), optax.adamw(schedule, weight_decay=decay, mask=mask)),
        (
            Adafactor(SCHEDULE, weight_decay=decay, clip_norm=0.0),
            optax.adafactor(schedule, weight_decay_rate=decay or None, weight_decay_mask=mask),
        ),
        (
            Adafactor(SCHEDULE, weight_decay=decay, clip_norm=0.0, multiply_by_parameter_scale=False),
            optax.adafactor(
                schedule, weight_decay_rate=decay or None, weight_decay_mask=mask, multiply_by_parameter_scale=False
            ),
        ),
    )
    parameters = jax.tree.map(jnp.asarray, draw(0))
    for ours, theirs in pairs:
        found, expected = ours.make(AXES, 1.0).init(parameters), theirs.init(parameters)
        assert jax.tree.structure(found) == jax.tree.structure(expected)


@pytest.mark.parametrize(
    ("make", "divisor"),
    [
        (lambda decay: AdamW(SCHEDULE, weight_decay=decay), 4.0),
        (lambda decay: Adafactor(SCHEDULE, weight_decay=decay), 2.0),
        (lambda decay: Adafactor(SCHEDULE, weight_decay=decay, multiply_by_parameter_scale=False), 4.0),
    ],
)
def test_updates_of_matrices_shrink_with_the_width_and_decay_does_not(make: Any, divisor: float) -> None:
    parameters, gradients = draw(0), draw(1)

    def second_update(width_multiple: float, decay: float) -> Any:
        transformation = make(decay).make(AXES, width_multiple)
        state = transformation.init(parameters)
        for _ in range(2):  # the first rate is 0
            updates, state = transformation.update(gradients, state, parameters)
        return updates

    base, wide, decayed = second_update(1.0, 0.0), second_update(4.0, 0.0), second_update(4.0, 0.1)
    decay_of_base = jax.tree.map(jnp.subtract, second_update(1.0, 0.1), base)
    for name in SHAPES:
        np.testing.assert_allclose(wide[name] * (divisor if name == "kernel" else 1.0), base[name], rtol=1e-5)
        np.testing.assert_allclose(decayed[name] - wide[name], decay_of_base[name], atol=1e-6)


def test_adafactor_is_the_published_one() -> None:
    """Arxiv 1804.04235, algorithms 4 and 5, with relative steps, for a factored matrix and an unfactored vector."""
    axes = {"matrix": ("vocab", "embed"), "vector": ("embed",)}
    random = np.random.default_rng(0)
    shapes = {"matrix": (160, 128), "vector": (128,)}
    expected = {name: random.normal(size=shape) for name, shape in shapes.items()}
    transformation = Adafactor(SCHEDULE, clip_norm=0.0).make(axes, 1.0)
    parameters = {name: jnp.asarray(value, jnp.float32) for name, value in expected.items()}
    state = transformation.init(parameters)
    rows, columns, moments = np.zeros(160), np.zeros(128), np.zeros(128)
    for step in range(3):
        gradients = {name: random.normal(size=shape) for name, shape in shapes.items()}
        as_float32 = {name: jnp.asarray(value, jnp.float32) for name, value in gradients.items()}
        updates, state = transformation.update(as_float32, state, parameters)
        parameters = jax.tree.map(jnp.add, parameters, updates)
        beta = 1 - (step + 1) ** -0.8
        squares = {name: gradient**2 + 1e-30 for name, gradient in gradients.items()}
        rows = beta * rows + (1 - beta) * squares["matrix"].mean(axis=1)
        columns = beta * columns + (1 - beta) * squares["matrix"].mean(axis=0)
        moments = beta * moments + (1 - beta) * squares["vector"]
        second = {"matrix": np.outer(rows, columns) / rows.mean(), "vector": moments}
        for name, gradient in gradients.items():
            update = gradient / np.sqrt(second[name])
            update /= max(1.0, np.sqrt(np.mean(update**2)))
            scale = max(1e-3, np.sqrt(np.mean(expected[name] ** 2)))
            expected[name] = expected[name] - rate(step) * scale * update
    for name in shapes:
        np.testing.assert_allclose(parameters[name], expected[name], rtol=1e-4, atol=1e-5)


def test_adafactor_keeps_its_factored_moments_where_the_parameters_are() -> None:
    model = encoder(vocab_size=256, width=128, mlp_hidden=256)
    abstract = abstract_state(
        model, Adafactor(SCHEDULE).make(model.logical_axes, model.width_multiple), eight_devices()
    )
    specs: dict[tuple[int, ...], set[tuple[object, ...]]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(abstract["optimizer"])[0]:
        if "'layers'" in jax.tree_util.keystr(path) and "'down'" in jax.tree_util.keystr(path):
            specs.setdefault(leaf.shape, set()).add(tuple(leaf.sharding.spec))
    # `down` is [layers, mlp, embed] = (2, 256, 128), over (-, tensor, fsdp).
    assert specs[2, 256] == {(None, "tensor")}
    assert specs[2, 128] == {(None, "fsdp")}
    assert (2, 256, 128) not in specs


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(UserError, match="beta1 1.0"):
        AdamW(SCHEDULE, beta1=1.0)
    with pytest.raises(UserError, match="AdamW.clip_norm = -1.0; allowed: 0 and above"):
        AdamW(SCHEDULE, clip_norm=-1.0)
    with pytest.raises(UserError, match="decay_rate 1.5"):
        Adafactor(SCHEDULE, decay_rate=1.5)
    with pytest.raises(UserError, match=r"Adafactor.weight_decay = -0.1"):
        Adafactor(SCHEDULE, weight_decay=-0.1)
