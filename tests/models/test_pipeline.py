"""Stages of layers: chunks reach the stage that runs them, and micro-batches pass all layers in order."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m5jax.models.pipeline import Schedule, _exchanges, _interleave, run_stages
from partitioning import MeshConfig, make_mesh
from tests.models.tiny import encoder_config


@given(st.integers(1, 9), st.integers(1, 6))
def test_every_device_sends_and_gets_one_chunk_an_exchange(stages: int, rounds: int) -> None:
    arrived = np.full((stages, rounds), -1)
    for target, source_place, target_place in _exchanges(stages, rounds):
        assert sorted(target) == list(range(stages))
        for device in range(stages):
            getter = target[device]
            assert arrived[getter, target_place[getter]] == -1
            arrived[getter, target_place[getter]] = device * rounds + source_place[device]
    # In round r, stage s runs chunk r x stages + s.
    np.testing.assert_array_equal(arrived, np.arange(stages * rounds).reshape(rounds, stages).T)


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_layers_are_interleaved_over_the_stages(rounds: int) -> None:
    layers = jnp.arange(4 * rounds * 2)
    with jax.set_mesh(make_mesh(MeshConfig(1, 2, pipeline=4))):
        found = jax.jit(lambda leaf: _interleave(leaf, 4, rounds))(layers)
    expected = np.arange(4 * rounds * 2).reshape(rounds, 4, 2).swapaxes(0, 1)
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=5, deadline=None)
@given(st.sampled_from([2, 4, 8]), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2))
def test_stages_make_what_layers_in_turn_make(stages: int, rounds: int, parts_a_stage: int, rows_a_part: int) -> None:
    parts = stages * parts_a_stage
    shards = 8 // stages
    batch, count = parts * rows_a_part * shards, stages * rounds * 2
    random = np.random.default_rng(0)
    weights = random.normal(size=count).astype(np.float32)
    x = random.normal(size=(batch, 2, 3)).astype(np.float32)
    shift = random.normal(size=batch).astype(np.float32)

    # Order matters, and so does which row a value belongs to.
    def run_chunk(chunk: Any, states: jax.Array, rows: jax.Array) -> jax.Array:
        for index in range(2):
            states = jnp.tanh(states * chunk[index] + rows[:, None, None])
        return states

    def total(weights: jax.Array, x: jax.Array) -> jax.Array:
        made = run_stages(weights, x, jnp.asarray(shift), run_chunk, Schedule(stages, rounds, parts))
        return jnp.sum(made * np.arange(made.size).reshape(made.shape)), made

    with jax.set_mesh(make_mesh(MeshConfig(1, shards, pipeline=stages))):
        gradients, made = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(weights, x)

    def in_turn(weights: jax.Array, x: jax.Array) -> jax.Array:
        for weight in weights:
            x = jnp.tanh(x * weight + shift[:, None, None])
        return jnp.sum(x * np.arange(x.size).reshape(x.shape)), x

    expected_gradients, expected = jax.grad(in_turn, argnums=(0, 1), has_aux=True)(weights, x)
    np.testing.assert_allclose(made, expected, rtol=1e-6, atol=1e-6)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_fewer_rows_are_cut_into_fewer_micro_batches() -> None:
    config = encoder_config(pipeline_microbatches=8)
    assert config.microbatches(4, 32) == encoder_config().microbatches(4, 32) == 8
    assert config.microbatches(4, 4) == 4
    assert config.microbatches(4, 12) == 4
    assert config.microbatches(1, 12) == 1
