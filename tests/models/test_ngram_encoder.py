import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.models import FunctionalModel, NgramEncoderConfig

MODEL = FunctionalModel.from_config(NgramEncoderConfig(vocab_size=30, width=8))
TABLE = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
EMBED = jax.jit(lambda table, ids, segments: MODEL.bind({"embedding": table}).embed(ids, segments))


def rows_of(texts, length):
    inputs = np.zeros((len(texts), length), np.int32)
    for row, ids in zip(inputs, texts, strict=True):
        row[: len(ids)] = ids
    return jnp.asarray(inputs), jnp.asarray((inputs > 0).astype(np.int32))


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(1, 29), max_size=6), min_size=3, max_size=3))
def test_an_embedding_is_the_mean_of_those_of_the_ngrams_and_of_none_zero(texts):
    expected = [np.mean(TABLE[ids], axis=0) if ids else np.zeros(8) for ids in texts]
    np.testing.assert_allclose(EMBED(TABLE, *rows_of(texts, 6)), expected, atol=1e-6)


def test_padding_and_order_do_not_matter():
    short = EMBED(TABLE, *rows_of([[3, 4, 5]], 4))
    np.testing.assert_allclose(short, EMBED(TABLE, *rows_of([[5, 3, 4]], 16)), atol=1e-7)


def test_only_ngrams_of_the_texts_have_gradients():
    rows = rows_of([[3, 4], [4]], 5)
    gradient = jax.grad(lambda table: jnp.sum(jnp.sin(EMBED(table, *rows))))(jnp.asarray(TABLE))
    assert np.flatnonzero(np.abs(gradient).sum(axis=1)).tolist() == [3, 4]


def test_dropout_follows_from_the_key_of_each_row():
    model = FunctionalModel.from_config(NgramEncoderConfig(vocab_size=30, width=64, dropout_rate=0.5))
    table = jnp.ones((30, 64))
    inputs, segments = rows_of([[1], [1], [1]], 2)
    keys = jax.random.split(jax.random.key(0), 2)[jnp.array([0, 1, 0])]
    got = np.array(model.bind({"embedding": table}).embed(inputs, segments, keys))
    np.testing.assert_array_equal(got[0], got[2])
    assert set(got.flat) == {0.0, 2.0}
    assert not np.array_equal(got[0], got[1])
    assert np.all(model.bind({"embedding": table}).embed(inputs, segments) == 1.0)


def test_parameters_are_one_table():
    assert MODEL.logical_axes == {"embedding": ("vocab", "embed")}
    assert MODEL.width_multiple == 1.0
    drawn = MODEL.init(jax.random.key(0))["embedding"]
    assert drawn.shape == (30, 8)
    assert drawn.dtype == jnp.float32
    assert float(jnp.std(drawn)) == pytest.approx(8**-0.5, rel=0.15)


@pytest.mark.parametrize("changes", [{"vocab_size": 0}, {"width": 0}, {"max_length": 0}, {"dropout_rate": 1.0}])
def test_settings_that_cannot_be_are_refused(changes):
    ((name, value),) = changes.items()
    with pytest.raises(UserError, match=rf"NgramEncoderConfig.{name} = {value}"):
        NgramEncoderConfig(**({"vocab_size": 9} | changes))
