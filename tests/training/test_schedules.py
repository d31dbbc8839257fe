"""Schedules against their closed forms in numpy."""

import numpy as np
import optax
import pytest

from m5jax.errors import UserError
from m5jax.training.schedules import Cosine, InverseSquareRoot, WarmupStableDecay


def values(schedule: optax.Schedule, steps: int) -> np.ndarray:
    return np.array([float(schedule(step)) for step in range(steps)])


def test_inverse_square_root() -> None:
    steps = np.arange(60)
    expected = np.where(steps < 8, 3e-3 * steps / 8, 3e-3 * np.sqrt(8 / np.maximum(steps, 1)))
    np.testing.assert_allclose(values(InverseSquareRoot(3e-3, 8).make(), 60), expected, rtol=1e-5)


@pytest.mark.parametrize(("warmup", "total"), [(10, 50), (0, 20), (1, 7)])
def test_cosine(warmup: int, total: int) -> None:
    steps = np.arange(total + 5)
    done = np.clip((steps - warmup) / (total - warmup), 0, 1)
    decayed = 2e-3 * (0.2 + 0.8 * 0.5 * (1 + np.cos(np.pi * done)))
    expected = np.where(steps < warmup, 2e-3 * steps / max(warmup, 1), decayed)
    np.testing.assert_allclose(values(Cosine(2e-3, warmup, total, 0.2).make(), total + 5), expected, rtol=1e-5)


def test_cosine_of_a_run_shorter_than_its_warmup_still_reaches_the_peak() -> None:
    assert values(Cosine(1.0, 100, 5).make(), 6).tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1, 0.1])


@pytest.mark.parametrize(("warmup", "decay", "total"), [(5, 10, 40), (0, 10, 40), (5, 0, 20), (10, 10, 20)])
def test_warmup_stable_decay(warmup: int, decay: int, total: int) -> None:
    steps = np.arange(total)
    rising = steps / max(warmup, 1)
    falling = (total - steps) / max(decay, 1)
    expected = 4e-4 * np.where(steps < warmup, rising, np.where(steps < total - decay, 1, falling))
    np.testing.assert_allclose(values(WarmupStableDecay(4e-4, warmup, decay, total).make(), total), expected, rtol=1e-5)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(UserError, match="InverseSquareRoot.warmup_steps = 0; allowed: 1 and above"):
        InverseSquareRoot(1e-3, 0)
    with pytest.raises(UserError, match="Cosine.warmup_steps = -1; allowed: 0 and above"):
        Cosine(1e-3, -1, 10)
    with pytest.raises(UserError, match="6 warm-up and 5 decay steps exceed the 10 steps of the run"):
        WarmupStableDecay(1e-3, 6, 5, 10)
