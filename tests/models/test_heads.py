import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding

from m5jax.models.heads import POOLINGS, pool, token_logits
from partitioning import MeshConfig, make_mesh
from partitioning.rules import partition_spec
from tests.models.tiny import encoder_config


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


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_max_pooling_equals_numpy(lengths, seed):
    # All below zero, so that padding would show.
    hidden = -1 - np.random.default_rng(seed).random(size=(len(lengths), 7, 3)).astype(np.float32)
    segment_ids = (np.arange(7) < np.array(lengths)[:, None]).astype(np.int32)
    expected = [row[:length].max(axis=0) for row, length in zip(hidden, lengths, strict=True)]
    np.testing.assert_array_equal(pool(jnp.asarray(hidden), jnp.asarray(segment_ids), "max"), expected)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_row_without_tokens_has_an_embedding_of_zeros_and_gradients_of_zero(pooling):
    hidden, segment_ids = jnp.ones((2, 3, 2)), jnp.array([[0, 0, 0], [1, 1, 0]])
    pooled, gradient = jax.value_and_grad(lambda x: jnp.sum(jnp.square(pool(x, segment_ids, pooling))[0]))(hidden)
    assert float(pooled) == 0.0
    assert not np.any(gradient)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_embeddings_are_single_precision(pooling):
    pooled = pool(jnp.ones((1, 4, 2), jnp.bfloat16), jnp.ones((1, 4), jnp.int32), pooling)
    assert pooled.dtype == jnp.float32


def test_no_device_has_gradients_of_all_logits():
    """Where `sequence` and `tensor` both split the vocabulary, its gradient is made as it is split."""
    config = encoder_config(vocab_size=1024)
    mesh = make_mesh(MeshConfig(1, 2, 2, sequence=2))
    hidden, embedding = jnp.ones((8, 16, config.width)), jnp.ones((1024, config.width))

    def loss(hidden, embedding):
        return jnp.sum(jax.nn.logsumexp(token_logits(hidden, embedding, config), axis=-1))

    with jax.set_mesh(mesh):
        split = [
            NamedSharding(mesh, partition_spec(axes, shape, dict(mesh.shape)))
            for axes, shape in ((("batch", None, "embed"), hidden.shape), (("vocab", "embed"), embedding.shape))
        ]
        gradient = jax.jit(jax.grad(loss, argnums=(0, 1)), in_shardings=split, out_shardings=tuple(split))
        program = gradient.lower(hidden, embedding).compile().as_text()
    assert "[64,256]" in program  # rows of a device, its pieces
    assert not re.search(r"\[64,(512|1024)\]", program)
