"""Rows of a vocabulary, rearranged for another one."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m5jax.training.vocabulary_rows import rearrange_rows
from partitioning import named_sharding
from tests.training.tiny import eight_devices

OLD_ROWS = 8
SOURCES = st.dictionaries(st.integers(0, 11), st.lists(st.integers(0, OLD_ROWS - 1), max_size=4), max_size=6)


def naive(old: np.ndarray, drawn: np.ndarray, sources: dict[int, list[int]]) -> np.ndarray:
    result = drawn.copy()
    for row in range(len(drawn)):
        own = sources.get(row, [row] if row < len(old) else [])
        if len(own) == 1:
            result[row] = old[own[0]]
        elif own:
            result[row] = np.mean([old[index] for index in own], axis=0, dtype=np.float64)
    return result


@pytest.mark.parametrize("width", [(), (3,)])
@given(sources=SOURCES, seed=st.integers(0, 1000), more=st.sampled_from([0, 4]))
@settings(max_examples=20, deadline=None)
def test_rows_are_those_of_a_loop_over_them(width: tuple[int, ...], sources: dict, seed: int, more: int) -> None:
    random = np.random.default_rng(seed)
    rows = OLD_ROWS + more
    sources = {row: own for row, own in sources.items() if row < rows}
    old, drawn = (random.normal(size=(count, *width)).astype(np.float32) for count in (OLD_ROWS, rows))
    old[seed % OLD_ROWS] = -0.0
    result = np.asarray(rearrange_rows(jax.numpy.asarray(old), jax.numpy.asarray(drawn), sources))
    expected = naive(old, drawn, sources)
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-7)
    exact = [row for row in range(rows) if len(sources.get(row, ())) <= 1]
    assert result[exact].tobytes() == expected[exact].tobytes()


def test_rows_are_the_same_on_a_mesh() -> None:
    random, mesh = np.random.default_rng(0), eight_devices()
    old, drawn = (random.normal(size=(rows, 4)).astype(np.float32) for rows in (8, 12))
    sources = {3: [5], 8: [0, 1, 7], 9: [], 11: [2, 2]}
    sharding = named_sharding(mesh, ("vocab", "embed"), drawn.shape)
    rearranged = jax.jit(lambda *rows: rearrange_rows(*rows, sources), out_shardings=sharding)
    on_mesh = rearranged(jax.device_put(old, named_sharding(mesh, ("vocab", "embed"), old.shape)), drawn)
    assert on_mesh.sharding == sharding
    np.testing.assert_array_equal(on_mesh, rearrange_rows(jax.numpy.asarray(old), jax.numpy.asarray(drawn), sources))
