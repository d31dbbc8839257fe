import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m5jax.models.dot_product_attention import attention_mask
from m5jax.models.rotary import LongContext, rotary_angles
from m5jax.models.views import Neighbours, make_views
from tests.models.tiny import (
    decoder,
    decoder_config,
    encoder,
    encoder_config,
    encoder_decoder_config,
    row_of,
    segments_of,
)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 12), st.integers(1, 9), st.booleans(), st.integers(0, 2**32 - 1))
def test_near_keys_are_those_of_a_naive_loop(length, window, causal, seed):
    random = np.random.default_rng(seed)
    mask = random.integers(0, 2, (1, 1, length, length)).astype(bool)
    positions = random.integers(0, 20, (1, length)).astype(np.int32)
    config = encoder_config(global_every=3, local_window=window, rotary_theta=7.0, local_rotary_theta=5.0)
    mask, places = jnp.asarray(mask), jnp.asarray(positions)
    views = make_views(config, mask, places, causal=causal, key_positions=places)
    for index in range(5):
        view = views.of_layer(jnp.array(index))
        local = index % 3 != 0
        expected = rotary_angles(jnp.asarray(positions), config.head_size, 5.0 if local else 7.0)
        np.testing.assert_allclose(view.rotation, expected, rtol=1e-6)
        for query, key in np.ndindex(length, length):
            distance = abs(int(positions[0, query] - positions[0, key]))
            near = distance < window if causal else distance <= window // 2
            assert view.mask[0, 0, query, key] == (mask[0, 0, query, key] and (near or not local))


def test_only_layers_that_see_all_are_slowed_down():
    config, positions, slowed = encoder_config(global_every=2), jnp.arange(9)[None], LongContext(trained_length=16)
    views = make_views(config, jnp.ones((1, 1, 9, 9), bool), positions, causal=True, long_context=slowed)
    plain = rotary_angles(positions, config.head_size, 10_000.0)
    np.testing.assert_array_equal(views.of_layer(jnp.array(1)).rotation, plain)
    assert not np.allclose(views.of_layer(jnp.array(0)).rotation, plain)


@pytest.mark.parametrize(
    ("length", "window", "causal", "biased"), [(23, 7, True, True), (24, 4, False, True), (9, 3, True, False)]
)
def test_near_tokens_by_blocks_are_those_by_masks(length, window, causal, biased):
    random = np.random.default_rng(length)
    segment_ids = np.sort(random.integers(1, 4, (2, length)), axis=1).astype(np.int32)
    places = [np.concatenate([np.arange((row == segment).sum()) for segment in (1, 2, 3)]) for row in segment_ids]
    segment_ids, positions = jnp.asarray(segment_ids), jnp.asarray(np.stack(places), jnp.int32)
    mask = attention_mask(segment_ids, positions, jnp.zeros_like(positions) if causal else None)
    arrays = [jnp.asarray(random.normal(size=(2, length, 2, 4)), jnp.float32) for _ in range(3)]
    bias = jnp.asarray(random.normal(size=(1, 2, length, length)), jnp.float32)
    config = encoder_config(global_every=2, local_window=window)

    # With positions of keys of their own masks are used.
    @functools.partial(jax.jit, static_argnums=5)
    @functools.partial(jax.grad, argnums=(0, 1, 2, 3), has_aux=True)
    def by(query, key, value, bias, index, masks):
        keys = positions if masks else None
        own = bias if biased else None
        views = make_views(config, mask, positions, causal=causal, key_positions=keys, bias=own)
        assert masks == (views.local.blocks is None)
        attended = views.of_layer(index).attend(query, key, value, 0.7)
        return jnp.sum(jnp.sin(attended)), attended

    for index in (0, 1):
        by_masks, by_blocks = (by(*arrays, bias, jnp.array(index), masks) for masks in (True, False))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), by_blocks, by_masks)


def test_layers_that_see_near_tokens_make_no_scores_of_others():
    """Of 64 queries in blocks of 4, each of which sees 12 keys."""
    length, heads = 64, 2
    positions, mask = jnp.arange(length)[None], jnp.ones((1, 1, length, length), bool)
    views = make_views(encoder_config(global_every=2, local_window=8), mask, positions, causal=False)
    x = jax.ShapeDtypeStruct((1, length, heads, 4), jnp.float32)
    program = str(jax.make_jaxpr(lambda *x: views.local.blocks.attend(*x, 1.0))(x, x, x))
    assert f"f32[16,{heads},1,4,12]" in program
    assert f"{length},{length}]" not in program


@pytest.mark.parametrize(
    ("window", "causal", "size"), [(128, True, 128), (128, False, 64), (7, True, 8), (1, False, 2)]
)
def test_blocks_are_even_and_see_the_window(window, causal, size):
    neighbours = Neighbours.of_window(window, causal)
    assert (neighbours.size, neighbours.keys) == (size, size * (2 if causal else 3))


@pytest.mark.parametrize("make", [encoder_config, decoder_config, encoder_decoder_config])
def test_near_tokens_cost_fewer_operations_in_long_sequences_only(make):
    whole, near = (make(global_every=every, local_window=8) for every in (1, 3))
    assert near.flops_per_token(8, 0.5) == whole.flops_per_token(8, 0.5)
    assert near.flops_per_token(1024, 0.5) < 0.7 * whole.flops_per_token(1024, 0.5)


@pytest.mark.parametrize(("make", "reach", "far"), [(encoder, 2, 3), (decoder, 4, 5)], ids=["encoder", "decoder"])
def test_a_layer_that_sees_near_tokens_does_not_see_far_ones(make, reach, far):
    # The first layer sees all; its attention is silenced, so that the second alone mixes tokens.
    model, parameters = make(layers=2, global_every=2, local_window=5)
    output = parameters["layers"]["attention"]["output"]
    parameters["layers"]["attention"]["output"] = output.at[0].set(0.0)
    tokens = segments_of([12])[0]
    module, changed = model.bind(parameters), tokens.copy()
    changed[3] += 1
    states, other = (module(*row_of([row], 12))[0] for row in (tokens, changed))
    assert not np.allclose(states[3 + reach], other[3 + reach], atol=1e-6)
    np.testing.assert_allclose(states[3 + far :], other[3 + far :], atol=1e-6)
