"""Metrics summed on the device and fetched late, so that reading them never stalls a step."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from m5jax.training.step import Metrics

# Steps queued behind the one that runs: enough to keep the device busy, few enough to stop and report promptly.
STEPS_IN_FLIGHT = 2


@jax.jit
def add_sums(total: Metrics, more: Metrics) -> Metrics:
    """Returns the sums of both."""
    return jax.tree.map(jnp.add, total, more)


def means(metrics: Metrics) -> dict[str, float]:
    """Returns the mean of each metric, waiting for the device; a task's that had no weight is left out."""
    fetched = jax.device_get(metrics)
    return {
        name: float(sums.total / max(sums.weight, 1e-9))
        for name, sums in fetched.items()
        if sums.weight > 0 or "/" not in name
    }


def task_shares(metrics: Metrics) -> dict[str, float]:
    """Returns the share of predictions, 0 to 1, that were of each task that has a loss of its own."""
    fetched = jax.device_get({name: sums.weight for name, sums in metrics.items() if name.endswith("/loss")})
    total = sum(map(float, fetched.values()))
    return {name.removesuffix("/loss"): float(weight) / total for name, weight in fetched.items() if total > 0}


class Interval(NamedTuple):
    """What happened between two reports: last step, metric means, shares of tasks, tokens as the caller counts, seconds
    of stepping."""

    step: int
    metrics: dict[str, float]
    shares: dict[str, float]
    tokens: int
    seconds: float
    steps: int


class MetricWindow:
    """Sums metrics over `every` steps and reports an Interval once the device has finished its last step.

    The clock runs from construction, and stands still within `paused`.
    """

    def __init__(self, every: int, report: Callable[[Interval], None]):
        self._every = every
        self._report = report
        self._in_flight: deque[tuple[Metrics, tuple[int, Metrics, int, int] | None]] = deque()
        self._sums: Metrics | None = None
        self._tokens = 0
        self._steps = 0
        self._last_step = 0
        self._seconds = 0.0  # of this interval, before the last pause
        self._started = time.perf_counter()

    def add(self, step: int, metrics: Metrics, tokens: int) -> None:
        """Notes a dispatched step; waits only for steps more than STEPS_IN_FLIGHT behind it."""
        self._sums = metrics if self._sums is None else add_sums(self._sums, metrics)
        self._tokens += tokens
        self._steps += 1
        self._last_step = step
        self._in_flight.append((metrics, self._close_interval() if step % self._every == 0 else None))
        while len(self._in_flight) > STEPS_IN_FLIGHT:
            self._finish()

    @contextmanager
    def paused(self) -> Iterator[dict[str, float]]:
        """Waits for all dispatched steps, reports what is due, and leaves what happens inside out of the speed.

        Yields the means of the steps not yet reported; empty where there are none.
        """
        self._drain()
        self._seconds += time.perf_counter() - self._started
        try:
            yield {} if self._sums is None else means(self._sums)
        finally:
            self._started = time.perf_counter()

    def flush(self) -> None:
        """Waits for all dispatched steps and reports them all, in an interval shorter than `every`: a run's end."""
        self._drain()
        if self._sums is not None:
            self._in_flight.append((self._sums, self._close_interval()))
            self._finish()

    def _close_interval(self) -> tuple[int, Metrics, int, int]:
        assert self._sums is not None
        closed = (self._last_step, self._sums, self._tokens, self._steps)
        self._sums, self._tokens, self._steps = None, 0, 0
        return closed

    def _drain(self) -> None:
        while self._in_flight:
            self._finish()

    def _finish(self) -> None:
        metrics, due = self._in_flight.popleft()
        jax.block_until_ready(metrics)
        if due is None:
            return
        step, sums, tokens, steps = due
        now = time.perf_counter()
        seconds = self._seconds + now - self._started
        self._seconds, self._started = 0.0, now
        self._report(Interval(step, means(sums), task_shares(sums), tokens, seconds, steps))


def count_tokens(batch: dict[str, Any]) -> int:
    """Returns the tokens of a host batch that are not padding, in rows of their own too: targets, and right sides."""
    names = ("segment_ids", "target_segment_ids", "right_segment_ids")
    return sum(int((batch[name] > 0).sum()) for name in names if name in batch)
