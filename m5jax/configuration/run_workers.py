"""Workers that make many runs, a thread each, until they are done or a signal comes."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from threading import Event, Thread
from types import FrameType
from typing import Any

from m5jax.errors import UserError


def run_workers(workers: Sequence[Callable[[], None]], stop: Event, directory: object) -> bool:
    """Runs the workers to their end; returns False where SIGTERM, Ctrl-C or one of them set `stop` before.

    Args:
      workers: each looks at `stop` now and then, and ends soon after it is set.
      stop: ends the work.
      directory: named where it cannot be written.

    Raises:
      UserError: a worker raised it, or could not read or write; the others are stopped then.
    """
    errors: list[BaseException] = []

    def run(worker: Callable[[], None]) -> None:
        try:
            worker()
        except OSError as error:
            errors.append(UserError(f"cannot work on the study {directory}: {error}"))
            stop.set()
        except BaseException as error:
            errors.append(error)
            stop.set()

    # A second signal ends this process at once: it does not wait for daemons.
    threads = [Thread(target=run, args=(worker,), daemon=True) for worker in workers]
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

    if threading.current_thread() is threading.main_thread():  # others get no signals
        previous |= {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        restore()
