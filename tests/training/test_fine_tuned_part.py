"""What a fine-tuning changes of a pre-trained model, to the bit, and at what rate."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from m5jax.errors import UserError
from m5jax.models import (
    ClassifierConfig,
    EncoderConfig,
    EncoderDecoderConfig,
    FunctionalModel,
    LowRankAdapters,
    NgramEncoderConfig,
    TwoTowerConfig,
)
from m5jax.objectives import Classification
from m5jax.training.fine_tuned_part import FineTunedPart, ScaledOptimizer
from m5jax.training.optimizers import Adafactor, AdamW
from m5jax.training.schedules import InverseSquareRoot
from m5jax.training.state import TrainState
from m5jax.training.step import make_train_step

ENCODER = EncoderConfig(vocab_size=40, width=16, layers=3, heads=2, mlp_hidden=24, max_length=16)
ENCODER_DECODER = EncoderDecoderConfig(
    vocab_size=40, width=16, encoder_layers=2, decoder_layers=2, heads=2, head_dim=8, mlp_hidden=24
)
ADAPTERS = LowRankAdapters(rank=2, targets=("query", "down"))
SCHEDULE = InverseSquareRoot(peak=0.05, warmup_steps=1)
DECAYING = AdamW(SCHEDULE, weight_decay=0.1)


def classifier(part: FineTunedPart) -> FunctionalModel:
    config = ClassifierConfig(encoder=part.prepare(ENCODER), classes=3, tags=2)
    return part.trained(FunctionalModel.from_config(config))


def drawn(model: FunctionalModel) -> Any:
    """Returns random parameters with a negative zero in each."""
    random = np.random.default_rng(0)

    def draw(leaf: Any) -> Any:
        array = random.normal(0, 0.3, leaf.shape).astype(np.float32)
        array.reshape(-1)[::5] = -0.0
        return jnp.asarray(array)

    return jax.tree.map(draw, model.abstract_parameters)


def batch(seed: int) -> dict[str, jax.Array]:
    random = np.random.default_rng(seed)
    inputs = random.integers(1, 40, (4, 8), dtype=np.int32)
    inputs[0, 5:] = 0
    arrays = {
        "inputs": inputs,
        "segment_ids": (inputs > 0).astype(np.int32),
        "labels": random.integers(0, 3, 4, dtype=np.int32),
        "tags": random.integers(-1, 2, (4, 8), dtype=np.int32),
        "weights": np.ones(4, np.float32),
    }
    return {name: jnp.asarray(array) for name, array in arrays.items()}


@functools.cache
def trained(part: FineTunedPart, optimizer: Any = DECAYING) -> tuple[Any, TrainState]:
    """Returns parameters, and the state after four steps from them."""
    model = classifier(part)
    transformation = part.optimizer(optimizer, model).make(model.trained_part(model.logical_axes), 1.0)
    step = jax.jit(make_train_step(model, Classification(), transformation))
    parameters = drawn(model)
    state = TrainState(
        step=jnp.int32(0),
        parameters=parameters,
        optimizer=transformation.init(model.trained_part(parameters)),
        rng=jax.random.key_data(jax.random.key(0)),
    )
    for number in range(4):
        state, _ = step(state, batch(number))
    return jax.device_get(parameters), jax.device_get(state)


def by_name(tree: Any) -> dict[str, Any]:
    return {"/".join(key.key for key in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def changed(part: FineTunedPart, optimizer: Any = DECAYING) -> dict[str, np.ndarray]:
    """Returns of each parameter which layers, or which of one without layers, changed by a bit."""
    before, state = trained(part, optimizer)
    before, after = by_name(before), by_name(state["parameters"])
    assert before.keys() == after.keys()

    def layers(name: str, array: np.ndarray) -> Any:
        return array if name.startswith("encoder/layers/") else array[None]

    return {
        name: np.array(
            [
                a.tobytes() != b.tobytes()
                for a, b in zip(layers(name, before[name]), layers(name, after[name]), strict=True)
            ]
        )
        for name in before
    }


PARTS = {
    "all": FineTunedPart(),
    "adapters": FineTunedPart(adapters=ADAPTERS),
    "top": FineTunedPart(layers=1),
    "top two": FineTunedPart(layers=2, layer_decay=0.5),
    "layers": FineTunedPart(layers=3),
    "heads": FineTunedPart(layers=0),
}


def expected(kind: str, name: str) -> list[bool]:
    """Returns which layers of a parameter, or whether one that has none, a part trains."""
    layers = 3 if name.startswith("encoder/layers/") else 1
    if not name.startswith("encoder/"):
        return [True]
    if "masked_lm_head" in name:
        return [False]
    if kind == "adapters":
        return [("adapters" in name)] * layers
    if kind == "all":
        return [not _unused(name, layer) for layer in range(layers)]
    top = {"top": 1, "top two": 2, "layers": 3, "heads": 0}[kind]
    if layers == 3:
        return [layer >= 3 - top and not _unused(name, layer) for layer in range(3)]
    return [top > 0 and "final_norm" in name]


def _unused(name: str, layer: int) -> bool:
    """Whether a parameter has no gradient: the first layer has no norm before its attention."""
    return "attention_norm" in name and layer == 0


@pytest.mark.parametrize("kind", PARTS)
def test_exactly_the_part_that_is_trained_changes_and_no_bit_of_the_rest(kind: str) -> None:
    """Over steps of AdamW with weight decay, and with negative zeros in the weights."""
    found = changed(PARTS[kind])
    assert {name: flags.tolist() for name, flags in found.items()} == {name: expected(kind, name) for name in found}
    assert any("adapters" in name for name in found) == (kind == "adapters")


@pytest.mark.parametrize("kind", ["top two", "adapters"])
def test_so_it_is_with_adafactor(kind: str) -> None:
    found = changed(PARTS[kind], Adafactor(SCHEDULE, weight_decay=0.01))
    assert {name: flags.tolist() for name, flags in found.items()} == {name: expected(kind, name) for name in found}


@pytest.mark.parametrize("kind", PARTS)
def test_the_optimizer_holds_moments_of_trained_parameters_only(kind: str) -> None:
    state = trained(PARTS[kind])[1]["optimizer"]
    adam = next(
        node for node in jax.tree.leaves(state, is_leaf=lambda node: hasattr(node, "mu")) if hasattr(node, "mu")
    )
    parameters = by_name(trained(PARTS[kind])[0])
    own = {name for name in parameters if any(expected(kind, name))}
    for moments in (adam.mu, adam.nu):
        assert {name: leaf.shape for name, leaf in by_name(moments).items()} == {n: parameters[n].shape for n in own}


@functools.cache
def updates(part: FineTunedPart) -> dict[str, np.ndarray]:
    """Returns the second update by gradients of one, of a part's optimizer."""
    model = classifier(part)
    parameters = model.trained_part(drawn(model))
    transformation = part.optimizer(DECAYING, model).make(model.trained_part(model.logical_axes), 1.0)

    @jax.jit
    def second(parameters: Any) -> Any:
        gradients = jax.tree.map(jnp.ones_like, parameters)
        state = transformation.update(gradients, transformation.init(parameters), parameters)[1]
        return transformation.update(gradients, state, parameters)[0]  # the first rate of a warm-up is 0

    return by_name(jax.device_get(second(parameters)))


def test_the_update_of_each_layer_is_that_of_the_next_times_the_decay_and_heads_have_their_own_multiple() -> None:
    plain, scaled = updates(FineTunedPart()), updates(FineTunedPart(layer_decay=0.5, head_multiple=3.0))
    assert plain.keys() == scaled.keys()
    for name, update in plain.items():
        assert np.all(update != 0)
        factor: Any = 3.0
        if name.startswith("encoder/layers/"):
            factor = np.array([0.125, 0.25, 0.5]).reshape(3, *[1] * (update.ndim - 1))
        elif name.startswith("encoder/"):
            factor = 0.5 if "final_norm" in name else 0.0625
        np.testing.assert_allclose(scaled[name], update * factor, rtol=1e-6, err_msg=name)


def test_of_some_layers_the_others_have_a_rate_of_zero() -> None:
    found = updates(FineTunedPart(layers=2, layer_decay=0.5))
    plain = updates(FineTunedPart())
    for name, update in found.items():
        if name.startswith("encoder/layers/"):
            factor = np.array([0.0, 0.25, 0.5]).reshape(3, *[1] * (update.ndim - 1))
            np.testing.assert_allclose(update, plain[name] * factor, rtol=1e-6)


def test_adapters_have_the_rates_of_their_layers() -> None:
    plain, scaled = (updates(FineTunedPart(adapters=ADAPTERS, layer_decay=decay)) for decay in (1.0, 0.5))
    for name, update in plain.items():
        factor = np.array([0.125, 0.25, 0.5]).reshape(3, *[1] * (update.ndim - 1)) if "adapters" in name else 1.0
        np.testing.assert_allclose(scaled[name], update * factor, rtol=1e-6)


def test_without_rates_of_its_own_a_part_has_the_optimizer_itself() -> None:
    assert FineTunedPart().optimizer(DECAYING, classifier(FineTunedPart())) is DECAYING
    part = FineTunedPart(head_multiple=2.0)
    scaled = part.optimizer(DECAYING, classifier(part))
    assert isinstance(scaled, ScaledOptimizer)
    assert scaled.schedule is SCHEDULE


def test_gradients_are_clipped_by_the_norm_of_what_is_trained() -> None:
    """Before they are scaled; what is frozen has none."""
    part = FineTunedPart(layers=0, head_multiple=2.0)
    model = classifier(part)
    parameters = model.trained_part(drawn(model))
    clipping = AdamW(SCHEDULE, clip_norm=0.1, beta1=0.0)
    transformation = part.optimizer(clipping, model).make(model.trained_part(model.logical_axes), 1.0)
    gradients = jax.tree.map(jnp.ones_like, parameters)
    _, state = transformation.update(gradients, transformation.init(parameters), parameters)
    adam = next(
        node for node in jax.tree.leaves(state, is_leaf=lambda node: hasattr(node, "mu")) if hasattr(node, "mu")
    )
    assert float(optax.global_norm(adam.mu)) == pytest.approx(0.1, rel=1e-5)


def test_parts_of_a_batch_one_after_the_other_change_a_part_of_the_model_as_the_whole_does() -> None:
    part = FineTunedPart(adapters=ADAPTERS)
    config = ClassifierConfig(encoder=part.prepare(ENCODER), classes=3)
    model = part.trained(FunctionalModel.from_config(config))
    parameters = drawn(model)
    transformation = optax.sgd(0.1)
    state = TrainState(
        step=jnp.int32(0),
        parameters=parameters,
        optimizer=transformation.init(model.trained_part(parameters)),
        rng=jax.random.key_data(jax.random.key(0)),
    )
    whole, cut = (
        jax.jit(make_train_step(model, Classification(), transformation, parts))(state, batch(0))[0] for parts in (1, 2)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), cut["parameters"], whole["parameters"])
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), whole["parameters"], parameters)
    assert {name for name, distance in by_name(moved).items() if distance} == set(
        by_name(model.trained_part(model.abstract_parameters))
    )


def test_both_towers_are_parts_of_what_was_pretrained() -> None:
    part = FineTunedPart(layers=1)
    config = TwoTowerConfig(encoder=part.prepare(ENCODER), shared=False, projection=8)
    model = part.trained(FunctionalModel.from_config(config))
    names = set(by_name(model.trained_part(model.abstract_parameters)))
    heads = {"projection", "right_projection", "log_scale", "bias"}
    towers = {name.partition("/")[0] for name in names - heads}
    assert heads < names
    assert towers == {"encoder", "right_encoder"}
    assert not any("embedding" in name or "masked_lm_head" in name for name in names)


def test_of_an_encoder_decoder_all_is_pretrained_and_adapters_change_alone() -> None:
    part = FineTunedPart(adapters=ADAPTERS)
    model = part.trained(FunctionalModel.from_config(part.prepare(ENCODER_DECODER)))
    names = set(by_name(model.trained_part(model.abstract_parameters)))
    assert names
    assert all("/adapters/" in name for name in names)
    whole = FineTunedPart().trained(FunctionalModel.from_config(ENCODER_DECODER))
    assert whole.trained_part(whole.abstract_parameters) == whole.abstract_parameters


def test_a_model_is_prepared_for_its_part() -> None:
    assert FineTunedPart().prepare(ENCODER) is ENCODER
    assert FineTunedPart(adapters=ADAPTERS).prepare(ENCODER).adapters is ADAPTERS
    assert FineTunedPart(layers=1).prepare(ENCODER).frozen_layers == 2
    assert FineTunedPart(layers=0).prepare(ENCODER).frozen_layers == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": -1}, "FineTunedPart.layers = -1; allowed: 0 and above, or None"),
        ({"layers": 1, "adapters": ADAPTERS}, "both layers and adapters; with adapters no layer changes"),
        ({"layer_decay": 0.0}, "layer_decay = 0.0"),
        ({"layer_decay": 1.5}, "layer_decay = 1.5"),
        ({"head_multiple": 0.0}, "head_multiple = 0.0"),
        ({"head_multiple": float("inf")}, "head_multiple = inf"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FineTunedPart(**settings)


def test_a_part_that_a_model_does_not_have_is_refused() -> None:
    with pytest.raises(UserError, match="FineTunedPart.layers = 4; the encoder has 3"):
        FineTunedPart(layers=4).prepare(ENCODER)
    with pytest.raises(UserError, match="FineTunedPart.layers is of encoders; EncoderDecoderConfig is none"):
        FineTunedPart(layers=1).prepare(ENCODER_DECODER)
    part = FineTunedPart(layer_decay=0.9)
    bag = TwoTowerConfig(encoder=NgramEncoderConfig(vocab_size=9, width=4))
    for config, name in ((ENCODER_DECODER, "EncoderDecoderConfig"), (bag, "NgramEncoderConfig")):
        with pytest.raises(UserError, match=f"FineTunedPart.layer_decay is of encoders with layers; {name} is none"):
            part.optimizer(DECAYING, FunctionalModel.from_config(config))
