"""Metrics summed on the device and fetched late, so that reading them never stalls a step."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from m5jax.objectives import Sums
from m5jax.training.step import Metrics

# Steps queued behind the one that runs: enough to keep the device busy, few enough to stop and report promptly.
STEPS_IN_FLIGHT = 2


@jax.jit
def add_sums(total: Metrics, more: Metrics) -> Metrics:
    """Returns the sums of both."""
    return jax.tree.map(jnp.add, total, more)


def means(metrics: Metrics) -> dict[str, float]:
    """Returns the mean of each metric, waiting for the device."""
    fetched = jax.device_get(metrics)
    return {name: float(sums.total / max(sums.weight, 1e-9)) for name, sums in fetched.items()}


class Interval(NamedTuple):
    """What happened between two reports: last step, metric means, tokens of this process, seconds of stepping."""

    step: int
    metrics: dict[str, float]
    tokens: int
    seconds: float
    steps: int


class MetricWindow:
    """Sums metrics over `every` steps and reports an Interval once the device has finished its last step."""

    def __init__(self, every: int, report: Callable[[Interval], None]):
        self._every = every
        self._report = report
        self._in_flight: deque[tuple[Metrics, tuple[int, Metrics, int, int] | None]] = deque()
        self._sums: Metrics | None = None
        self._tokens = 0
        self._steps = 0
        self._started = time.perf_counter()

    def add(self, step: int, metrics: dict[str, Sums], tokens: int) -> None:
        """Notes a dispatched step; waits only for steps more than STEPS_IN_FLIGHT behind it."""
        self._sums = metrics if self._sums is None else add_sums(self._sums, metrics)
        self._tokens += tokens
        self._steps += 1
        due = None
        if step % self._every == 0:
            due = (step, self._sums, self._tokens, self._steps)
            self._sums, self._tokens, self._steps = None, 0, 0
        self._in_flight.append((metrics, due))
        while len(self._in_flight) > STEPS_IN_FLIGHT:
            self._finish()

    def drain(self) -> None:
        """Waits for all dispatched steps and reports what is due; call before evaluating or saving."""
        while self._in_flight:
            self._finish()

    def restart_clock(self) -> None:
        """Leaves out of the speed what happened since the last drain (evaluation, saving, compilation)."""
        self._started = time.perf_counter()

    def _finish(self) -> None:
        metrics, due = self._in_flight.popleft()
        jax.block_until_ready(metrics)
        if due is None:
            return
        step, sums, tokens, steps = due
        now = time.perf_counter()
        self._report(Interval(step, means(sums), tokens, now - self._started, steps))
        self._started = now


def count_tokens(batch: dict[str, Any]) -> int:
    """Returns the tokens of a host batch that are not padding."""
    return int((batch["segment_ids"] > 0).sum())
