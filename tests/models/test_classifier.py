import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from m5jax.errors import UserError
from m5jax.models import ClassifierConfig, FunctionalModel
from tests.models import tiny

WIDTH = 16
TEXTS = tiny.segments_of([5, 2, 7])


@functools.cache
def classifier(classes, tags, pooling="mean", **changes):
    """Returns a model and its parameters, all of them random."""
    config = ClassifierConfig(
        encoder=tiny.encoder_config(layers=2, pooling=pooling, **changes), classes=classes, tags=tags
    )
    model, random = FunctionalModel.from_config(config), np.random.default_rng(0)
    parameters = jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, 0.3, leaf.shape), jnp.float32), model.abstract_parameters
    )
    return model, parameters


@functools.cache
def logits_of(*arguments):
    model, parameters = classifier(*arguments)
    return jax.jit(lambda *rows: model.bind(parameters)(*rows))


def rows_of(texts, length):
    inputs = np.zeros((len(texts), length), np.int32)
    for row, ids in zip(inputs, texts, strict=True):
        row[: len(ids)] = ids
    return jnp.asarray(inputs), jnp.asarray((inputs > 0).astype(np.int32))


def states_of(text, parameters, **changes):
    """Returns the states that the encoder alone has of one text, in float64."""
    encoder = FunctionalModel.from_config(tiny.encoder_config(layers=2, **changes))
    rows = tiny.row_of([text], len(text))
    return np.array(encoder.bind(parameters["encoder"])(*rows)[0], np.float64)


def affine(x, output):
    return x @ np.array(output["kernel"], np.float64) + np.array(output["bias"], np.float64)


def gelu(x):
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


POOLED = {"mean": lambda states: states.mean(0), "max": lambda states: states.max(0), "first": lambda states: states[0]}


@pytest.mark.parametrize("pooling", POOLED)
def test_logits_equal_numpy(pooling):
    parameters = classifier(4, 3, pooling)[1]
    got = logits_of(4, 3, pooling)(*rows_of(TEXTS, 8))
    assert got.classes.shape == (3, 4)
    assert got.tags.shape == (3, 8, 3)
    for row, text in enumerate(TEXTS):
        states = states_of(text, parameters)
        hidden = POOLED[pooling](states) @ np.array(parameters["dense"], np.float64)
        hidden = np.array([gelu(x) for x in hidden])
        np.testing.assert_allclose(got.classes[row], affine(hidden, parameters["output"]), atol=1e-5)
        np.testing.assert_allclose(got.tags[row, : len(text)], affine(states, parameters["tag_output"]), atol=1e-5)


def test_padding_and_other_rows_do_not_matter():
    together = logits_of(4, 3)(*rows_of(TEXTS, 16))
    for row, text in enumerate(TEXTS):
        alone = logits_of(4, 3)(*rows_of([text], len(text)))
        np.testing.assert_allclose(together.classes[row], alone.classes[0], atol=1e-5)
        np.testing.assert_allclose(together.tags[row, : len(text)], alone.tags[0], atol=1e-5)


@pytest.mark.parametrize(("classes", "tags"), [(1, 0), (0, 2), (3, 2)])
def test_a_model_has_only_the_outputs_it_is_asked_for(classes, tags):
    model = classifier(classes, tags)[0]
    got = jax.eval_shape(lambda parameters: model.bind(parameters)(*rows_of(TEXTS, 8)), model.abstract_parameters)
    assert (got.classes and got.classes.shape) == ((3, classes) if classes else None)
    assert (got.tags and got.tags.shape) == ((3, 8, tags) if tags else None)
    own = ({"dense", "output"} if classes else set()) | ({"tag_output"} if tags else set())
    assert set(model.abstract_parameters) == {"encoder", *own}


def test_logits_are_single_precision_whatever_the_encoder_is():
    model = classifier(2, 2, dtype="bfloat16")[0]
    got = jax.eval_shape(lambda parameters: model.bind(parameters)(*rows_of(TEXTS, 8)), model.abstract_parameters)
    assert {got.classes.dtype, got.tags.dtype} == {jnp.dtype("float32")}


def test_at_first_no_class_is_much_likelier_than_another():
    model = classifier(5, 3)[0]
    got = model.bind(jax.jit(model.init)(jax.random.key(0)))(*rows_of(TEXTS, 8))
    for logits in got:
        assert 0 < np.abs(logits).max() < 0.2


def test_dropout_follows_from_the_key_of_each_row_and_is_off_without():
    model, parameters = classifier(4, 3, dropout_rate=0.4)
    run = jax.jit(lambda keys: model.bind(parameters)(*rows_of([TEXTS[0]] * 3, 8), keys))
    keys = jax.random.split(jax.random.key(0), 2)[jnp.array([0, 1, 0])]
    for name in ("classes", "tags"):
        with_keys, without = (np.array(getattr(got, name)) for got in (run(keys), run(None)))
        np.testing.assert_allclose(with_keys[0], with_keys[2], atol=1e-6)
        assert np.abs(with_keys[0] - with_keys[1]).max() > 1e-3
        np.testing.assert_allclose(without[0], without[1], atol=1e-6)
        assert np.abs(with_keys[0] - without[0]).max() > 1e-3


@pytest.mark.parametrize(("classes", "tags"), [(0, 0), (-1, 3), (2, -1)])
def test_a_model_that_says_nothing_is_refused(classes, tags):
    with pytest.raises(UserError, match=f"classes = {classes}, tags = {tags}; one of them must be 1 or more"):
        ClassifierConfig(encoder=tiny.encoder_config(), classes=classes, tags=tags)
