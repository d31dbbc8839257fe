import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.models.blocks import make_views
from m5jax.models.rotary import LongContext, rotary_angles
from tests.models.tiny import decoder, encoder, encoder_config, row_of, segments_of


@given(st.integers(1, 12), st.integers(1, 9), st.booleans(), st.integers(0, 2**32 - 1))
def test_near_keys_are_those_of_a_naive_loop(length, window, causal, seed):
    random = np.random.default_rng(seed)
    mask = random.integers(0, 2, (1, 1, length, length)).astype(bool)
    positions = random.integers(0, 20, (1, length)).astype(np.int32)
    config = encoder_config(global_every=3, local_window=window, rotary_theta=7.0, local_rotary_theta=5.0)
    views = make_views(config, *map(jnp.asarray, (mask, positions, positions)), causal=causal)
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
    views = make_views(config, jnp.ones((1, 1, 9, 9), bool), positions, positions, causal=True, long_context=slowed)
    plain = rotary_angles(positions, config.head_size, 10_000.0)
    np.testing.assert_array_equal(views.of_layer(jnp.array(1)).rotation, plain)
    assert not np.allclose(views.of_layer(jnp.array(0)).rotation, plain)


@pytest.mark.parametrize(("make", "reach", "far"), [(encoder, 2, 3), (decoder, 4, 5)])
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
