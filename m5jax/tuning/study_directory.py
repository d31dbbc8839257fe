"""The directory of a study: what lies where, and the one study it is of.

    study.journal   every trial with its values, Optuna's journal
    trials/0007     run directory of a trial
    logs/0007.err   what it wrote to standard error; 0007.out: to standard output
    locks/          who works on what

A journal, since many processes on many hosts write to it: its lock is a file that only one can create, which network
file systems do well, and a kill leaves at most half a line at its end. SQLite's locks are unreliable there.

The locks of trials are `flock`s, which end with the process that holds them.
"""

import fcntl
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from m5jax.configuration.run_process import RunFiles, make_folders
from m5jax.errors import UserError
from m5jax.tuning.settings import Tuning

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import JournalStorage

JOURNAL = "study.journal"
NAME = "m5jax"
DEFINITION = "definition"
TRIALS = "trials"


def trial_files(study: Path, number: int) -> RunFiles:
    """Returns where a trial lies in the directory of its study."""
    return RunFiles(study, TRIALS, f"{number:04d}")


def open_study(directory: Path, tuning: Tuning, definition: Mapping[str, str]) -> "Study":
    """Returns the study of a directory, which is made where it is missing.

    Args:
      directory: of the study.
      tuning: how values are chosen and trials pruned.
      definition: texts by name: what must be the same for all that work on the study.

    Raises:
      UserError: the directory holds another study (the differences are named) or other files, or cannot be written, or
        its journal cannot be read.
    """
    import optuna
    from optuna.study import StudyDirection

    from m5jax.tuning.sampler import SamplerByTrial

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _make(directory)
    with study_lock(directory):
        storage = _storage(directory / JOURNAL)
        if not optuna.get_all_study_names(storage):
            direction = StudyDirection[tuning.direction.upper()]
            optuna.create_study(storage=storage, study_name=NAME, direction=direction)
        study = optuna.load_study(
            study_name=NAME,
            storage=storage,
            sampler=SamplerByTrial(tuning.seed),
            pruner=optuna.pruners.MedianPruner(tuning.startup_trials, tuning.warmup_steps),
        )
        known = study.user_attrs.get(DEFINITION)
        if known is None:
            study.set_user_attr(DEFINITION, dict(definition))
        elif known != definition:
            raise UserError(
                f"{directory} holds another study ({_differences(known, definition)}); choose another --study"
            )
    return study


@contextmanager
def study_lock(directory: Path) -> Iterator[None]:
    """Within its context no other process or thread is in that of the same study; waits for its turn.

    Raises:
      UserError: the file system has no such locks, or not for this user.
    """
    path = directory / "locks" / "study"
    try:
        file = path.open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        raise UserError(
            f"cannot lock {path}: {error.strerror or error}; choose a --study where files can be"
        ) from error
    with file:
        yield


def _make(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise UserError(f"--study={directory} is a file")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / "locks").is_dir():
        raise UserError(f"{directory} holds files but no {JOURNAL}; choose an empty or new --study")
    make_folders(directory, TRIALS)


def _storage(path: Path) -> "JournalStorage":
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    lock = JournalFileOpenLock(str(path))
    try:
        lock.acquire()
        try:
            _drop_half_line(path)
        finally:
            lock.release()
        return JournalStorage(JournalFileBackend(str(path), lock))
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise UserError(f"cannot read the journal {path}: {error}; restore it from a copy") from error


def _drop_half_line(path: Path) -> None:
    """Cuts what a process that was killed left at the end: the next line would be appended to it."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        if not content.endswith(b"\n"):
            logging.getLogger(__name__).warning("%s ends in half a line, which is left out", path)
            file.truncate(content.rfind(b"\n") + 1)
            os.fsync(file.fileno())


def _differences(there: Mapping[str, str], now: Mapping[str, str]) -> str:
    return "; ".join(
        f"{key}: {there.get(key, 'unset')} there, {now.get(key, 'unset')} now"
        for key in sorted(there.keys() | now.keys())
        if there.get(key) != now.get(key)
    )
