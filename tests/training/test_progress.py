"""ProgressBar on a terminal and in a log file."""

import io

import pytest

from m5jax.training.progress import SECONDS_BETWEEN_LINES, ProgressBar, format_seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines_of(total: int, initial: int, step_seconds: float) -> list[str]:
    now = 0.0
    stream = io.StringIO()
    with ProgressBar(total, initial, stream, clock=lambda: now) as bar:
        for step in range(initial + 1, total + 1):
            now += step_seconds
            bar.update(step, loss=2.0, tokens_per_second=48_000.4)
    assert "\r" not in stream.getvalue()
    return stream.getvalue().splitlines()


def steps(lines: list[str]) -> list[int]:
    return [int(line.split("/")[0].removeprefix("step ")) for line in lines]


def test_a_log_file_gets_the_first_report_and_each_tenth() -> None:
    lines = lines_of(total=200, initial=0, step_seconds=1.0)
    assert steps(lines) == [1, *range(20, 201, 20)]
    assert lines[1] == "step 20/200 (10%), loss 2.0000, 48,000 tokens/s, 3:00 left"
    assert lines[-1].endswith("0:00 left")


def test_a_resumed_run_counts_the_time_left_from_its_own_steps() -> None:
    lines = lines_of(total=100, initial=45, step_seconds=2.0)
    assert steps(lines) == [46, 50, 60, 70, 80, 90, 100]
    assert lines[1].endswith("1:40 left")


def test_a_slow_run_reports_although_no_tenth_is_done() -> None:
    assert steps(lines_of(total=1000, initial=0, step_seconds=SECONDS_BETWEEN_LINES / 4))[:4] == [1, 5, 9, 13]


@pytest.mark.parametrize(("mfu", "shown"), [(0.4123, ", MFU 41.2%"), (None, None)])
@pytest.mark.parametrize("stream_type", [io.StringIO, Terminal])
def test_utilization_is_shown_where_it_is_known(
    stream_type: type[io.StringIO], mfu: float | None, shown: str | None
) -> None:
    stream = stream_type()
    with ProgressBar(10, stream=stream) as bar:
        bar.update(10, loss=2.0, tokens_per_second=10.0, mfu=mfu)
    text = stream.getvalue()
    assert "loss 2.0000, 10 tokens/s" in text
    assert (shown in text) if shown else ("MFU" not in text)


def test_the_bar_of_a_terminal_ends_at_the_last_step() -> None:
    stream = Terminal()
    with ProgressBar(10, 4, stream) as bar:
        for step in range(5, 11):
            bar.update(step, loss=float(step), tokens_per_second=1.0)
    first, last = (line for line in (stream.getvalue().split("\r")[1], stream.getvalue().split("\r")[-1]))
    assert "4/10" in first
    assert "100%" in last
    assert "10/10" in last
    assert "loss 10.0000" in last


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3600, "1:00:00"), (93_784, "1d 02:03:04")])
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
