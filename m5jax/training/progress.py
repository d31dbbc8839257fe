"""What a person sees while a run trains: a bar on a terminal, a plain line now and then in a log file."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

# A log file gets a line each tenth of the run, and one at least this often, as a tenth of a long run takes days.
SECONDS_BETWEEN_LINES = 300.0
BAR_FORMAT = "{percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


class ProgressBar:
    """Shows steps, loss, tokens per second, model FLOP utilization where it is known, and the time left.

    Args:
        total_steps: the step at which the run ends.
        initial_step: the step it starts from; not 0 where it resumes.
        stream: where to draw; standard error by default.
        clock: seconds since any fixed moment.
    """

    def __init__(
        self,
        total_steps: int,
        initial_step: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        stream = sys.stderr if stream is None else stream
        self._display: _Bar | _Lines
        if stream.isatty():
            self._display = _Bar(total_steps, initial_step, stream)
        else:
            self._display = _Lines(total_steps, initial_step, stream, clock)

    def update(self, step: int, loss: float, tokens_per_second: float, mfu: float | None = None) -> None:
        """Reports the state after `step` steps; `mfu` is a fraction of the peak (arXiv 2204.02311, appendix B)."""
        details = f"loss {loss:.4f}, {format_rate(tokens_per_second)}"
        if mfu is not None:
            details += f", MFU {mfu:.1%}"
        self._display.update(step, details)

    def close(self) -> None:
        """Leaves the last state of the bar on the screen and goes to a new line."""
        self._display.close()

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Bar:
    def __init__(self, total_steps: int, initial_step: int, stream: TextIO) -> None:
        # Here, so that the training loop can be imported (and timed) where only jax and its libraries are installed.
        from tqdm import tqdm

        self._bar = tqdm(
            total=total_steps, initial=initial_step, file=stream, bar_format=BAR_FORMAT, dynamic_ncols=True
        )

    def update(self, step: int, details: str) -> None:
        self._bar.set_postfix_str(details, refresh=False)
        self._bar.update(step - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class _Lines:
    def __init__(self, total_steps: int, initial_step: int, stream: TextIO, clock: Callable[[], float]) -> None:
        self._total, self._initial, self._stream, self._clock = total_steps, initial_step, stream, clock
        self._started = clock()
        # The first report is always printed: it shows that the run lives and how fast it is.
        self._printed_tenth, self._printed_at = -1, self._started

    def update(self, step: int, details: str) -> None:
        now = self._clock()
        tenth = 10 * step // max(self._total, 1)
        if tenth <= self._printed_tenth and now - self._printed_at < SECONDS_BETWEEN_LINES:
            return
        self._printed_tenth, self._printed_at = tenth, now
        left = "?"
        if step > self._initial:
            left = format_seconds((now - self._started) / (step - self._initial) * (self._total - step))
        share = step / max(self._total, 1)
        print(f"step {step}/{self._total} ({share:.0%}), {details}, {left} left", file=self._stream, flush=True)

    def close(self) -> None:
        pass


def format_rate(tokens_per_second: float) -> str:
    """Returns e.g. `48,210 tokens/s`."""
    return f"{tokens_per_second:,.0f} tokens/s"


def format_seconds(seconds: float) -> str:
    """Returns `m:ss`, `h:mm:ss` or `1d 02:03:04`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
