import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import erf

from m5jax.models.layers import ACTIVATIONS, GatedMlp, LayerNorm, RmsNorm, dropout, normal_parameter


def test_layer_norm_equals_numpy():
    x = np.random.default_rng(0).normal(3.0, 2.0, (4, 5, 8)).astype(np.float32)
    norm = LayerNorm(8, 1e-5)
    norm.scale[...] = jnp.arange(8.0)
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * np.arange(8.0)
    np.testing.assert_allclose(norm(jnp.asarray(x)), expected, atol=1e-4)


def test_layer_norm_of_half_precision_is_computed_in_single():
    x = jnp.full((1, 256), 300.0, jnp.bfloat16).at[0, 0].add(2.0)
    normed = LayerNorm(256, 1e-5)(x)
    assert normed.dtype == jnp.bfloat16
    single = LayerNorm(256, 1e-5)(x.astype(jnp.float32))
    np.testing.assert_allclose(normed.astype(jnp.float32), single, rtol=1e-2, atol=1e-2)


def test_root_mean_square_norm_equals_numpy():
    x = np.random.default_rng(0).normal(3.0, 2.0, (4, 5, 8)).astype(np.float32)
    norm = RmsNorm(8, 1e-5)
    norm.scale[...] = jnp.arange(8.0)
    expected = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * np.arange(8.0)
    np.testing.assert_allclose(norm(jnp.asarray(x)), expected, atol=1e-4)


# The third is what arXiv 1606.08415 has in section 2.
ACTIVATED = {
    "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gated_mlp_equals_numpy(activation):
    mlp = GatedMlp(6, 10, ACTIVATIONS[activation], jnp.dtype("float32"), nnx.Rngs(params=0), output_stddev=0.1)
    x = np.random.default_rng(0).normal(size=(2, 3, 6)).astype(np.float32)
    up, gate, down = (np.asarray(kernel[...]) for kernel in (mlp.up, mlp.gate, mlp.down))
    expected = (ACTIVATED[activation](x @ up) * (x @ gate)) @ down
    np.testing.assert_allclose(mlp(jnp.asarray(x)), expected, atol=1e-5)


def test_parameters_have_the_stated_deviation_and_are_truncated_at_two():
    parameter = normal_parameter(nnx.Rngs(params=0), (300, 200), ("embed", "mlp"), 0.02)[...]
    assert parameter.dtype == jnp.float32
    assert float(jnp.std(parameter)) == pytest.approx(0.02, rel=0.02)
    assert float(jnp.mean(parameter)) == pytest.approx(0.0, abs=3e-4)
    assert float(jnp.max(jnp.abs(parameter))) < 2 * 0.02 / 0.879


def test_dropout_zeroes_its_rate_and_keeps_the_mean():
    ones = jnp.ones((200, 200))
    dropped = dropout(ones, 0.25, jax.random.split(jax.random.key(0), 200))
    assert float(jnp.mean(dropped == 0)) == pytest.approx(0.25, abs=0.01)
    assert float(jnp.mean(dropped)) == pytest.approx(1.0, abs=0.02)
    assert set(np.unique(dropped)) == {np.float32(0.0), np.float32(1 / 0.75)}


def test_dropout_without_key_or_rate_changes_nothing():
    ones = jnp.ones((3, 3))
    assert dropout(ones, 0.5, None) is ones
    assert dropout(ones, 0.0, jax.random.split(jax.random.key(0), 3)) is ones


def test_what_dropout_makes_of_a_row_follows_from_its_own_key():
    keys = jax.random.split(jax.random.key(0), 6)
    whole = dropout(jnp.ones((6, 50)), 0.5, keys)
    np.testing.assert_array_equal(dropout(jnp.ones((2, 50)), 0.5, keys[jnp.array([4, 1])]), whole[jnp.array([4, 1])])
    assert len(np.unique(whole, axis=0)) == 6
