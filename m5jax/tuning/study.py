"""The work on a study: workers that take trials and run them until there are enough, or a signal comes."""

import contextlib
import os
import signal
from collections.abc import Iterator
from threading import Event, Thread
from types import FrameType
from typing import Any

from m5jax.errors import UserError
from m5jax.tuning.trial_process import worker_environment
from m5jax.tuning.worker import Failures, Work, Worker


def work_on_study(work: Work, workers: int = 1) -> bool:
    """Makes trials until there are as many as there should be; returns False where SIGTERM or Ctrl-C came first.

    A worker is a thread that watches one process at a time. Other processes may work on the study too, here or on other
    hosts that share its directory; with one worker in all, the trials are the same however often the work is
    interrupted.

    Raises:
      UserError: the directory is of another study or cannot be written, trials do not write the metric, or several in
        a row failed.
    """
    stop, failures = Event(), Failures(work.tuning.failures)
    errors: list[BaseException] = []

    def run(worker: Worker) -> None:
        try:
            worker.run()
        except OSError as error:
            errors.append(UserError(f"cannot work on the study {work.directory}: {error}"))
            stop.set()
        except BaseException as error:
            errors.append(error)
            stop.set()

    environments = [worker_environment(os.environ, index, workers) for index in range(workers)]
    made = [Worker(work, environment, stop, failures) for environment in environments]
    # A second signal ends this process at once: it does not wait for daemons.
    threads = [Thread(target=run, args=(worker,), daemon=True) for worker in made]
    with _signals_set(stop):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return not stop.is_set()


@contextlib.contextmanager
def _signals_set(stop: Event) -> Iterator[None]:
    """Within its context the first SIGTERM or Ctrl-C sets the event; a second acts as usual."""
    previous: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()
        restore()

    previous |= {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        restore()
