"""MetricWindow: exact means, late but ordered reports, and a clock that stands still when asked to."""

import jax.numpy as jnp
import numpy as np
import pytest

from m5jax.objectives import Sums
from m5jax.training import metrics
from m5jax.training.metrics import STEPS_IN_FLIGHT, Interval, MetricWindow, count_tokens, means

STEPS = 23
RANDOM = np.random.default_rng(0)
TOTALS, WEIGHTS = RANDOM.integers(0, 50, STEPS), RANDOM.integers(1, 9, STEPS)


def add(window: MetricWindow, step: int) -> None:
    sums = Sums(jnp.float32(TOTALS[step - 1]), jnp.float32(WEIGHTS[step - 1]))
    window.add(step, {"loss": sums}, tokens=step)


def expected(first: int, last: int) -> tuple[int, float, int, int]:
    inside = slice(first - 1, last)
    mean = TOTALS[inside].sum() / WEIGHTS[inside].sum()
    return last, pytest.approx(mean, rel=1e-6), sum(range(first, last + 1)), last - first + 1


@pytest.mark.parametrize("every", [1, 2, 3, 10, 23, 100])
@pytest.mark.parametrize("first", [1, 6])
def test_each_step_is_in_one_exact_mean(every: int, first: int) -> None:
    reports: list[Interval] = []
    window = MetricWindow(every, reports.append)
    for step in range(first, STEPS + 1):
        add(window, step)
        if step % 7 == 0:
            with window.paused():
                pass
    window.flush()
    ends = [*range(-(-first // every) * every, STEPS, every), STEPS]
    starts = [first, *(end + 1 for end in ends[:-1])]
    got = [(report.step, report.metrics["loss"], report.tokens, report.steps) for report in reports]
    assert got == [expected(start, end) for start, end in zip(starts, ends, strict=True)]
    window.flush()
    assert len(reports) == len(ends)


def test_a_report_comes_when_later_steps_are_under_way() -> None:
    reports: list[Interval] = []
    window = MetricWindow(2, reports.append)
    for step in range(1, 3 + STEPS_IN_FLIGHT):
        assert not reports
        add(window, step)
    assert [report.step for report in reports] == [2]
    with window.paused() as unreported:
        assert unreported == {} or STEPS_IN_FLIGHT % 2
    assert [report.step for report in reports] == [2, 4]


def test_what_is_not_yet_reported_can_be_looked_at() -> None:
    window = MetricWindow(10, lambda interval: None)
    for step in (1, 2, 3):
        add(window, step)
    with window.paused() as unreported:
        assert unreported["loss"] == pytest.approx(TOTALS[:3].sum() / WEIGHTS[:3].sum())


def test_pauses_are_no_part_of_the_seconds_and_nothing_else_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(metrics.time, "perf_counter", lambda: now)
    reports: list[Interval] = []
    window = MetricWindow(4, reports.append)
    for step in range(1, 9):
        now += 1.0
        add(window, step)
        if step in (2, 4, 7):
            with window.paused():
                now += 1000.0
    window.flush()
    assert [(report.steps, report.seconds) for report in reports] == [(4, 4.0), (4, 4.0)]


def test_the_mean_without_weight_is_zero() -> None:
    assert means({"loss": Sums(jnp.float32(0), jnp.float32(0))}) == {"loss": 0.0}


def test_tokens_are_those_of_segments() -> None:
    assert count_tokens({"segment_ids": np.array([[1, 1, 2, 0], [0, 0, 0, 0], [3, 0, 0, 0]])}) == 4
    sides = {"segment_ids": np.array([[1, 1, 0]]), "right_segment_ids": np.array([[[1, 0, 0], [1, 1, 1]]])}
    assert count_tokens(sides) == 2 + 4
