"""Stopping a run from outside: SIGTERM (a scheduler's notice) or SIGINT lets the step end and a checkpoint be saved."""

import signal
from types import FrameType

import jax
from jax.experimental import multihost_utils

EXIT_INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: run the same command again


class TrainingInterrupted(Exception):
    """The run stopped early with a checkpoint at `step`."""

    def __init__(self, step: int):
        super().__init__(f"interrupted at step {step}; a checkpoint was saved, run the same command to resume")
        self.step = step


class InterruptionGuard:
    """Within its context, the first SIGTERM or SIGINT is noted instead of ending the process; a second acts as usual.

    In a run of several processes jax notes SIGTERM (its preemption service, `jax.distributed`) and tells all of them;
    SIGINT acts as usual there, since it reaches one process only.
    """

    def __enter__(self) -> "InterruptionGuard":
        self._noted = False
        numbers = (signal.SIGTERM, signal.SIGINT) if jax.process_count() == 1 else ()
        self._previous = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._noted = True
        for noted, handler in self._previous.items():
            signal.signal(noted, handler)

    def stop_after(self, step: int) -> bool:
        """Returns whether to stop after this step; all hosts of a run agree on it."""
        if jax.process_count() > 1:
            return bool(multihost_utils.reached_preemption_sync_point(step))
        return self._noted
