import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import m5jax.models.dot_product_attention
from m5jax.models.dot_product_attention import (
    attention_mask,
    cudnn_takes,
    dot_product_attention,
    on_cuda,
    same_segment,
)
from partitioning import MESH_AXES, MeshConfig, make_mesh


def naive_attention(query, key, value, mask):
    """One query of one head at a time."""
    batch, length, heads, head_dim = query.shape
    output = np.zeros_like(value)
    for b, h, q in np.ndindex(batch, heads, length):
        allowed = np.flatnonzero(mask[b, 0, q])
        scores = key[b, allowed, h] @ query[b, q, h] / np.sqrt(head_dim)
        weights = np.exp(scores - scores.max())
        output[b, q, h] = weights @ value[b, allowed, h] / weights.sum()
    return output


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 3), st.sampled_from([2, 4, 6]), st.integers(0, 2**32 - 1))
def test_attention_equals_the_naive_one(batch, length, heads, head_dim, seed):
    random = np.random.default_rng(seed)
    query, key, value = (random.normal(size=(batch, length, heads, head_dim)).astype(np.float32) for _ in range(3))
    segment_ids = random.integers(0, 3, (batch, length), dtype=np.int32)
    mask = np.asarray(attention_mask(jnp.asarray(segment_ids), jnp.zeros_like(segment_ids)))
    np.testing.assert_array_equal(mask[:, 0], segment_ids[:, :, None] == segment_ids[:, None, :])
    attended = dot_product_attention(*(jnp.asarray(x) for x in (query, key, value, mask)), head_dim**-0.5)
    np.testing.assert_allclose(attended, naive_attention(query, key, value, mask), atol=1e-5)


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_a_token_sees_the_prefix_and_what_came_before(length, seed):
    random = np.random.default_rng(seed)
    segment_ids = np.sort(random.integers(1, 3, length)).astype(np.int32)
    positions = np.concatenate([np.arange((segment_ids == s).sum()) for s in (1, 2)]).astype(np.int32)
    prefix = random.integers(0, 2, length).astype(np.int32)
    mask = np.asarray(attention_mask(*(jnp.asarray(x)[None] for x in (segment_ids, positions, prefix))))
    for query, key in np.ndindex(length, length):
        same_segment = segment_ids[query] == segment_ids[key]
        assert mask[0, 0, query, key] == (same_segment and bool(prefix[key] or positions[key] <= positions[query]))


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2)])
def test_cudnn_is_asked_for_the_same_attention(monkeypatch, heads, kv_heads):
    """The public function is run by XLA here, on what cuDNN would get."""
    asked = []
    original = jax.nn.dot_product_attention

    def by_xla(*arguments, implementation, **settings):
        asked.append(implementation)
        return original(*arguments, implementation="xla", **settings)

    random = np.random.default_rng(0)
    query = jnp.asarray(random.normal(size=(2, 6, heads, 8)), jnp.bfloat16)
    key, value = (jnp.asarray(random.normal(size=(2, 6, kv_heads, 8)), jnp.bfloat16) for _ in range(2))
    segment_ids = jnp.asarray([[1, 1, 1, 2, 2, 0], [1, 1, 1, 1, 1, 1]])
    mask = attention_mask(segment_ids, jnp.zeros_like(segment_ids))
    expected = dot_product_attention(query, key, value, mask, 0.3)
    monkeypatch.setattr(m5jax.models.dot_product_attention, "on_cuda", lambda: True)
    monkeypatch.setattr(jax.nn, "dot_product_attention", by_xla)
    found = dot_product_attention(query, key, value, mask, 0.3)
    assert asked == ["cudnn"]
    np.testing.assert_allclose(found.astype(jnp.float32), expected.astype(jnp.float32), atol=2e-2)
    # What it has not, or gives no gradient: single precision, a bias, odd lengths, other heads.
    single = [x.astype(jnp.float32) for x in (query, key, value)]
    dot_product_attention(*single, mask, 0.3)
    dot_product_attention(query, key, value, mask, 0.3, jnp.zeros((2, heads, 6, 6)))
    dot_product_attention(*(x[:, :5] for x in (query, key, value)), mask[:, :, :5, :5], 0.3)
    dot_product_attention(*(x[..., :6] for x in (query, key, value)), mask, 0.3)
    dot_product_attention(*(jnp.tile(x, 17) for x in (query, key, value)), mask, 0.3)
    assert asked == ["cudnn"]


def test_cudnn_is_not_asked_where_queries_are_split_and_keys_are_not():
    query = key = jnp.zeros((2, 6, 4, 8), jnp.bfloat16)
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((1, 1, 1, 2, 1), MESH_AXES)):
        assert not cudnn_takes(query, key)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("sequence", [1, 2])
def test_queries_a_part_at_a_time_attend_as_all_together(monkeypatch, biased, sequence):
    random = np.random.default_rng(0)
    query, key, value = (jnp.asarray(random.normal(size=(2, 12, heads, 8)), jnp.float32) for heads in (4, 2, 2))
    segment_ids = jnp.asarray(random.integers(0, 3, (2, 12)))
    mask = same_segment(segment_ids, segment_ids)
    bias = jnp.asarray(random.normal(size=(1, 4, 12, 12)), jnp.float32) if biased else None

    def loss(*arrays):
        attended = dot_product_attention(*arrays, mask, 0.3, bias)
        return jnp.sum(jnp.sin(attended)), attended

    expected = jax.grad(loss, (0, 1, 2), has_aux=True)(query, key, value)
    monkeypatch.setattr(m5jax.models.dot_product_attention, "MOST_SCORES", 30)
    with jax.set_mesh(make_mesh(MeshConfig(1, 1, 1, sequence), jax.devices()[:sequence])):
        assert str(jax.make_jaxpr(loss)(query, key, value)).count("scan[") == 1
        found = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(query, key, value)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_cudnn_is_not_asked_where_keys_are_split_over_devices_otherwise():
    query, key = (jnp.zeros((2, 6, heads, 8), jnp.bfloat16) for heads in (4, 2))
    for size, takes in ((2, True), (4, False)):
        mesh = jax.sharding.AbstractMesh((1, 1, 1, 1, size), MESH_AXES)
        with jax.sharding.use_abstract_mesh(mesh):
            assert cudnn_takes(query, key) == takes


@pytest.mark.skipif(not on_cuda(), reason="needs an NVIDIA GPU with cuDNN's attention")
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_cudnn_gives_the_attention_and_gradients_of_the_reference(monkeypatch, kv_heads):
    random = np.random.default_rng(0)
    shapes = ((2, 64, 4, 64), (2, 64, kv_heads, 64), (2, 64, kv_heads, 64))
    arrays = [jnp.asarray(random.normal(size=shape), jnp.bfloat16) for shape in shapes]
    segment_ids = jnp.asarray(np.repeat([[1, 2, 3, 0], [1, 1, 2, 2]], 16, axis=1))
    mask = attention_mask(segment_ids, jnp.zeros_like(segment_ids))

    def loss(*arrays):
        attended = dot_product_attention(*arrays, mask, 0.125).astype(jnp.float32)
        return jnp.sum(jnp.sin(attended) * (segment_ids > 0)[..., None, None])

    found = jax.value_and_grad(loss, (0, 1, 2))(*arrays)
    monkeypatch.setattr(m5jax.models.dot_product_attention, "on_cuda", lambda: False)
    expected = jax.value_and_grad(loss, (0, 1, 2))(*arrays)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        one, other = (np.asarray(x, np.float32) for x in (one, other))
        np.testing.assert_allclose(one, other, atol=2e-2 * np.abs(other).max())
