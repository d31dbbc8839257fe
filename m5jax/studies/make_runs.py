"""The work on a study: its runs made, several at a time; what is finished is not made again."""

import dataclasses
import functools
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event, Lock

from m5jax.configuration.run_process import End, last_error, make_folders, run_process, try_lock, worker_environment
from m5jax.configuration.run_workers import run_workers
from m5jax.errors import UserError
from m5jax.studies.planned_runs import RUNS, PlannedRun
from m5jax.studies.progress import StudyProgress
from m5jax.training.interruption import EXIT_INTERRUPTED

logger = logging.getLogger(__name__)
SECONDS = 2.0  # between looks at a run


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How the work on a study ended.

    Attributes:
      finished: runs that are, those of earlier times among them.
      elsewhere: labels of runs that another process is making.
      failed: why, by label.
      stopped: a signal came before the end.
    """

    finished: int
    elsewhere: tuple[str, ...]
    failed: Mapping[str, str]
    stopped: bool

    def __str__(self) -> str:
        parts = [f"{self.finished} finished"]
        parts += [f"{len(self.elsewhere)} made by another process"] if self.elsewhere else []
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        parts += ["stopped; run it again to go on"] if self.stopped else []
        return "\n".join([", ".join(parts), *(f"{label}: {reason}" for label, reason in self.failed.items())])


def make_runs(runs: Sequence[PlannedRun], directory: Path, workers: int = 1) -> Outcome:
    """Makes the runs that are not finished; goes on past those that fail.

    Args:
      runs: of the study.
      directory: of the study; made where it is missing.
      workers: runs at a time; where CUDA_VISIBLE_DEVICES names GPUs, each has its share of them.

    Raises:
      UserError: the directory cannot be written, or the GPUs cannot be shared equally.
    """
    make_folders(directory, RUNS)
    queue, stop = _Queue(runs), Event()
    with StudyProgress(len(runs)) as progress:
        made = [
            _Worker(queue, worker_environment(os.environ, index, workers), stop, progress, index + 1)
            for index in range(workers)
        ]
        finished = run_workers([worker.run for worker in made], stop, directory)
    done = sum(run.state == "finished" for run in runs)
    return Outcome(done, tuple(queue.elsewhere), dict(queue.failed), not finished)


class _Queue:
    """The runs that no worker of this process has had yet, and what came of the others."""

    def __init__(self, runs: Sequence[PlannedRun]):
        self._left, self._lock = list(runs), Lock()
        self.failed: dict[str, str] = {}
        self.elsewhere: list[str] = []

    def take(self) -> PlannedRun | None:
        with self._lock:
            return self._left.pop(0) if self._left else None


class _Worker:
    def __init__(self, queue: _Queue, environment: Mapping[str, str], stop: Event, progress: StudyProgress, place: int):
        self._queue, self._environment, self._stop = queue, environment, stop
        self._progress, self._place = progress, place

    def run(self) -> None:
        while not self._stop.is_set() and (run := self._queue.take()) is not None:
            lock = try_lock(run.files.lock)
            if lock is None:
                self._queue.elsewhere.append(run.label)
                continue
            with lock:
                try:
                    reason = self._make(run)
                except UserError as error:  # damaged files; others are made all the same
                    reason = str(error)
            if reason:
                self._queue.failed[run.label] = reason
                logger.warning("%s failed: %s", run.label, reason)
            if not self._stop.is_set():
                self._progress.count()

    def _make(self, run: PlannedRun) -> str | None:
        """Trains and evaluates a run, as far as that is not done; returns why it failed, None where it did not."""
        run.check_evaluations()
        if reason := self._process(run, run.train_words(), lambda: run.is_trained):
            return reason
        for name in run.evaluations:
            if self._stop.is_set():
                return None
            if reason := self._process(run, run.evaluate_words(name), functools.partial(run.is_evaluated, name)):
                return f"its evaluation {name}: {reason}"
            if not self._stop.is_set() and not run.is_evaluated(name):
                return f"its evaluation {name} wrote no report"
        return None

    def _process(self, run: PlannedRun, words: Sequence[str], is_done: Callable[[], bool]) -> str | None:
        """Runs one command of a run unless what it makes is there; returns why it failed, None where it did not."""
        if is_done():
            return None
        command = (*run.command.program, *words)
        with self._progress.of_run(run, self._place) as show:

            def goes_on() -> bool:
                show()
                return True

            for attempt in (1, 2):
                end, status = run_process(command, self._environment, run.files, goes_on, self._stop, SECONDS, is_done)
                # Killed while the study is to stop: a scheduler signals all processes of a job.
                if end is End.STOPPED or status == EXIT_INTERRUPTED or (status < 0 and self._stop.is_set()):
                    self._stop.set()
                    return None
                if status >= 0:
                    return last_error(run.files.errors) if status else None
                if attempt == 1:
                    logger.info("%s was killed by %s and is run again", run.label, signal.Signals(-status).name)
        return f"killed twice, the second time by {signal.Signals(-status).name}"
