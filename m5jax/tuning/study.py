"""The work on a study: workers that take trials and run them until there are enough, or a signal comes."""

import os
from threading import Event

from m5jax.configuration.run_process import worker_environment
from m5jax.configuration.run_workers import run_workers
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
    environments = [worker_environment(os.environ, index, workers) for index in range(workers)]
    made = [Worker(work, environment, stop, failures) for environment in environments]
    return run_workers([worker.run for worker in made], stop, work.directory)
