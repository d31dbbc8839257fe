"""A worker of a study: takes a trial, runs it to its end, and tells the study how it ended."""

import dataclasses
import logging
import math
import signal
from collections.abc import Mapping
from pathlib import Path
from threading import Event, Lock
from typing import IO, TYPE_CHECKING

from m5jax.configuration.fine_tuned_result import read_result
from m5jax.configuration.run_command import RunCommand
from m5jax.configuration.run_process import End, RunFiles, last_error, run_process, try_lock
from m5jax.errors import UserError
from m5jax.training.interruption import EXIT_INTERRUPTED
from m5jax.tuning.ranges import binding_flags, gin_text
from m5jax.tuning.settings import Tuning
from m5jax.tuning.study_directory import open_study, study_lock, trial_files
from m5jax.tuning.trial_metrics import Judge, TrialMetrics, read_trial_metrics, unknown_metric

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial, TrialState

logger = logging.getLogger(__name__)

NOTE = "note"
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
_KILLS = "kills"


@dataclasses.dataclass(frozen=True)
class Work:
    """What all workers of a study share.

    Attributes:
      directory: of the study.
      tuning: the study.
      command: that a trial runs.
      definition: what must be the same whenever this study is worked on, as texts by name.
      seconds: between looks at a running trial.
    """

    directory: Path
    tuning: Tuning
    command: RunCommand
    definition: Mapping[str, str]
    seconds: float = 2.0


class Failures:
    """Counts failed trials in a row, over all workers of this process."""

    def __init__(self, most: int):
        self._most, self._count, self._lock = most, 0, Lock()

    def add(self, failed: bool, note: str) -> None:
        """Counts a trial; raises UserError where too many failed."""
        with self._lock:
            self._count = self._count + 1 if failed else 0
            if self._count >= self._most:
                raise UserError(f"{self._count} trials failed one after another, the last one so: {note}")


@dataclasses.dataclass(frozen=True)
class _Claimed:
    """A trial that a worker has, for as long as the lock is open.

    Attributes:
      reported: steps whose values the study knows from an earlier worker.
    """

    trial: "Trial"
    reported: tuple[int, ...]
    files: RunFiles
    lock: IO[str]


@dataclasses.dataclass(frozen=True)
class _Ending:
    state: "TrialState"
    value: float | None = None
    note: str = ""


class Worker:
    """One of the workers of a study.

    Args:
      environment: variables of its trials.
      stop: ends the work; trials under way save what they have and go on another time.
      failures: of all workers of this process.
    """

    def __init__(self, work: Work, environment: Mapping[str, str], stop: Event, failures: Failures):
        self._work, self._environment, self._stop, self._failures = work, environment, stop, failures
        self._study = open_study(work.directory, work.tuning, work.definition)
        self._ranges = work.tuning.parsed

    def run(self) -> None:
        """Runs trials until there are enough; see `work_on_study`."""
        while not self._stop.is_set():
            claimed = self._claim()
            if claimed is None:
                return
            with claimed.lock:
                ending = self._run(claimed)
                if ending is not None:
                    self._tell(claimed, ending)

    def _claim(self) -> _Claimed | None:
        """Returns a trial whose worker is gone, else a new one; None where there are enough."""
        from optuna import Trial

        with study_lock(self._work.directory):
            for number in self._running():
                files = trial_files(self._work.directory, number)
                lock = try_lock(files.lock)
                if lock is None:
                    continue
                # It may have ended between the look at it and the lock.
                if known := self._running().get(number):
                    logger.info("trial %d goes on", number)
                    # Optuna has no public way to a trial that another process began.
                    trial = self._with_values(Trial(self._study, known._trial_id))
                    return _Claimed(trial, tuple(known.intermediate_values), files, lock)
                lock.close()
            number = len(self._study.get_trials(deepcopy=False))
            if number >= self._work.tuning.trials:
                return None
            files = trial_files(self._work.directory, number)
            lock = try_lock(files.lock)
            if lock is None:
                raise UserError(f"{files.lock} is locked by the worker of another study; wait for its end")
            trial = self._with_values(self._study.ask())
            values = ", ".join(f"{name}={gin_text(value)}" for name, value in trial.params.items())
            logger.info("trial %d begins: %s", number, values)
            return _Claimed(trial, (), files, lock)

    def _running(self) -> "dict[int, FrozenTrial]":
        from optuna.trial import TrialState

        trials = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return {trial.number: trial for trial in trials}

    def _with_values(self, trial: "Trial") -> "Trial":
        """Chooses the values of a trial; those that an earlier worker chose stay."""
        for each in self._ranges:
            each.suggest(trial)
        return trial

    def _run(self, claimed: _Claimed) -> _Ending | None:
        """Returns how a trial ended; None where it is to go on another time."""
        from optuna.trial import TrialState

        files, judge = claimed.files, Judge(claimed.trial, claimed.reported)
        flags = binding_flags(claimed.trial.params)
        command = (*self._work.command.program, *self._work.command.line(flags, files.run_dir))

        def goes_on() -> bool:
            return judge.goes_on(self._metrics(files))

        while True:
            end, status = run_process(command, self._environment, files, goes_on, self._stop, self._work.seconds)
            if end is End.NOT_WORTH_IT:
                return _Ending(TrialState.PRUNED)
            # Killed while the study is to stop: a scheduler signals all processes of a job.
            if end is End.STOPPED or status == EXIT_INTERRUPTED or (status < 0 and self._stop.is_set()):
                self._stop.set()
                return None
            if status >= 0 or not self._may_run_again(claimed.trial):
                return self._ended(status, files, judge)
            logger.info(
                "trial %d was killed by %s and is run again", claimed.trial.number, signal.Signals(-status).name
            )

    def _may_run_again(self, trial: "Trial") -> bool:
        """Counts kills of a trial's process: one that is killed each time may need more memory than there is."""
        kills = trial.user_attrs.get(_KILLS, 0) + 1
        trial.set_user_attr(_KILLS, kills)
        return bool(kills == 1)

    def _metrics(self, files: RunFiles) -> TrialMetrics:
        return read_trial_metrics(files.run_dir, self._work.tuning.metric)

    def _ended(self, status: int, files: RunFiles, judge: Judge) -> _Ending:
        from optuna.trial import TrialState

        metrics = self._metrics(files)
        if status < 0:
            return _Ending(TrialState.FAIL, note=f"killed twice, the second time by {signal.Signals(-status).name}")
        if status and not metrics.diverged:
            return _Ending(TrialState.FAIL, note=last_error(files.errors))
        if not status:
            if not metrics.values:
                raise unknown_metric(files.run_dir, self._work.tuning.metric, metrics.names)
            judge.ended(metrics)
            value = self._value(files.run_dir, metrics.values)
            if math.isfinite(value):
                return _Ending(TrialState.COMPLETE, value)
        # Not a failure, of which the sampler learns nothing: it should know that these values are bad.
        return _Ending(TrialState.PRUNED, note=f"diverged: {metrics.diverged}")

    def _value(self, run_dir: Path, values: Mapping[int, float]) -> float:
        """Returns the value of the checkpoint that a run with these values by step keeps: the newest one up to it."""
        result = read_result(run_dir) if self._work.command.kind.keeps_best else None
        kept = [value for step, value in values.items() if result is None or step <= result.step]
        return kept[-1] if kept else math.nan

    def _tell(self, claimed: _Claimed, ending: _Ending) -> None:
        from optuna.trial import TrialState

        if ending.note:
            claimed.trial.set_user_attr(NOTE, ending.note)
        told = self._study.tell(claimed.trial, ending.value, ending.state)
        value = "" if told.value is None else f" at {self._work.tuning.metric} = {told.value:.6g}"
        note = f": {ending.note}" if ending.note else ""
        logger.info("trial %d is %s%s%s", claimed.trial.number, STATES[ending.state.name], value, note)
        self._failures.add(ending.state == TrialState.FAIL, ending.note)
