import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from m5jax.models.heads import pool


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_mean_pooling_equals_numpy(lengths, seed):
    hidden = np.random.default_rng(seed).normal(size=(len(lengths), 7, 3)).astype(np.float32)
    segment_ids = (np.arange(7) < np.array(lengths)[:, None]).astype(np.int32)
    rows = zip(hidden, lengths, strict=True)
    expected = [row[:length].mean(axis=0) if length else np.zeros(3) for row, length in rows]
    np.testing.assert_allclose(pool(jnp.asarray(hidden), jnp.asarray(segment_ids), "mean"), expected, atol=1e-5)


def test_first_pooling_takes_the_first_token():
    hidden = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    pooled = pool(jnp.asarray(hidden), jnp.ones((2, 5), jnp.int32), "first")
    np.testing.assert_array_equal(pooled, hidden[:, 0])


def test_embeddings_are_single_precision():
    pooled = pool(jnp.ones((1, 4, 2), jnp.bfloat16), jnp.ones((1, 4), jnp.int32), "mean")
    assert pooled.dtype == jnp.float32
