import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.models import LongContext
from m5jax.models.rotary import rotary_angles, rotate


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 12), st.sampled_from([2, 4, 8]), st.sampled_from([100.0, 10_000.0]))
def test_rotation_is_a_complex_product(length, head_dim, theta):
    x = np.random.default_rng(length).normal(size=(1, length, 2, head_dim)).astype(np.float32)
    positions = np.arange(length, dtype=np.int32)[None]
    rotated = rotate(jnp.asarray(x), rotary_angles(jnp.asarray(positions), head_dim, theta))
    half = head_dim // 2
    angles = np.arange(length)[:, None] * theta ** (-np.arange(half) / half)
    expected = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angles)[None, :, None, :]
    np.testing.assert_allclose(rotated, np.concatenate([expected.real, expected.imag], -1), atol=1e-5)


def test_rotated_products_depend_on_the_distance_only():
    query, key = (jax.random.normal(jax.random.key(seed), (1, 1, 1, 8)) for seed in (0, 1))

    def product(query_position: int, key_position: int) -> float:
        angles = [rotary_angles(jnp.array([[position]]), 8, 100.0) for position in (query_position, key_position)]
        return float(jnp.sum(rotate(query, angles[0]) * rotate(key, angles[1])))

    assert product(3, 1) == pytest.approx(product(9, 7), abs=1e-5)
    assert product(3, 1) != pytest.approx(product(3, 2), abs=1e-2)


@pytest.mark.parametrize("settings", [{"factor": 1.0}, {"low_frequency": 4.0}, {"trained_length": 0}])
def test_a_long_context_that_cannot_be_is_refused(settings):
    with pytest.raises(UserError, match="allowed: a factor above 1, 0 < low_frequency < high_frequency"):
        LongContext(**settings)
