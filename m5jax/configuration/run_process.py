"""The process of one of many runs, in a directory with a folder each for run directories, logs and locks."""

import contextlib
import dataclasses
import enum
import fcntl
import logging
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import IO

from m5jax.errors import UserError

logger = logging.getLogger(__name__)

SECONDS_TO_SAVE = 300
ERROR = "m5jax: error: "
DEVICES = "CUDA_VISIBLE_DEVICES"
_LONGEST = 300


class End(enum.Enum):
    """Why a process is no longer there."""

    BY_ITSELF = enum.auto()
    NOT_WORTH_IT = enum.auto()
    STOPPED = enum.auto()


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """Where one of many runs lies.

    Attributes:
      directory: of all.
      folder: in it, of run directories.
      name: of the run.
    """

    directory: Path
    folder: str
    name: str

    @property
    def run_dir(self) -> Path:
        return self.directory / self.folder / self.name

    @property
    def output(self) -> Path:
        return self.directory / "logs" / f"{self.name}.out"

    @property
    def errors(self) -> Path:
        return self.directory / "logs" / f"{self.name}.err"

    @property
    def lock(self) -> Path:
        """Held by the worker that has the run."""
        return self.directory / "locks" / self.name

    @property
    def process_lock(self) -> Path:
        """Held by the process that trains too, which may live on where its worker was killed."""
        return self.directory / "locks" / f"{self.name}.process"


def make_folders(directory: Path, folder: str) -> None:
    """Makes the folders in which `RunFiles` lie; raises UserError where that fails."""
    try:
        for name in ("locks", "logs", folder):
            (directory / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write the study's directory {directory}: {error.strerror or error}") from error


def try_lock(path: Path) -> IO[str] | None:
    """Returns the locked file, whose lock ends when it and all that inherited it are closed; None: it is held."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def run_process(
    command: Sequence[str],
    environment: Mapping[str, str],
    files: RunFiles,
    goes_on: Callable[[], bool],
    stop: Event,
    seconds: float,
    is_done: Callable[[], bool] = lambda: False,
) -> tuple[End, int]:
    """Runs a command to its end; returns why it ended, and its exit status (minus the signal that killed it).

    One of an earlier worker that still runs is waited for; where it has done the work, the command is not run.

    Args:
      command: of the run.
      environment: its variables.
      files: of the run; what it writes replaces its logs.
      goes_on: asked now and then, and once more when the process is over: whether it is worth going on.
      stop: that the work on the runs is to stop.
      seconds: between looks at it.
      is_done: asked once no other process has the run: whether nothing is left to do.
    """
    waiting = False
    while (lock := try_lock(files.process_lock)) is None:
        if not waiting:
            logger.info("%s still runs, its worker was killed; waiting for its end", files.name)
        waiting = True
        if stop.wait(seconds):
            return End.STOPPED, 0
    with lock:
        if is_done():
            return End.BY_ITSELF, 0
        return _follow(command, environment, files, lock, goes_on, stop, seconds)


def _follow(
    command: Sequence[str],
    environment: Mapping[str, str],
    files: RunFiles,
    lock: IO[str],
    goes_on: Callable[[], bool],
    stop: Event,
    seconds: float,
) -> tuple[End, int]:
    with _started(command, environment, files, lock) as process:
        while True:
            # In this order: at the end of the process all that it wrote is read.
            status = process.poll()
            if not goes_on():
                return End.NOT_WORTH_IT, _terminate(process)
            if status is not None:
                return End.BY_ITSELF, status
            if stop.wait(seconds):
                return End.STOPPED, _terminate(process)


def last_error(errors: Path) -> str:
    """Returns why a command failed: its last line of standard error, that of `m5jax` if there is one."""
    text = errors.read_text(encoding="utf-8", errors="replace") if errors.exists() else ""
    lines = [line.strip() for line in re.split(r"[\r\n]", text) if line.strip()]
    said = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
    return (said or lines or ["nothing was said"])[-1][:_LONGEST]


def worker_environment(environment: Mapping[str, str], worker: int, workers: int) -> dict[str, str]:
    """Returns the environment of a worker's runs: where GPUs are named, each worker has its share of them.

    Raises:
      UserError: they cannot be shared equally.
    """
    named = environment.get(DEVICES, "")
    if not named or workers == 1:
        return dict(environment)
    devices = named.split(",")
    share, left = divmod(len(devices), workers)
    if left or not share:
        raise UserError(f"{DEVICES}={named} does not share equally among --workers={workers}")
    return {**environment, DEVICES: ",".join(devices[worker * share : (worker + 1) * share])}


@contextlib.contextmanager
def _started(
    command: Sequence[str], environment: Mapping[str, str], files: RunFiles, lock: IO[str]
) -> Iterator[subprocess.Popen[bytes]]:
    with files.output.open("wb") as output, files.errors.open("wb") as errors:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            pass_fds=(lock.fileno(),),
            # A terminal's Ctrl-C reaches the study alone, which then asks its trials to stop: a second signal would
            # end them without a checkpoint.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _terminate(process)


def _terminate(process: subprocess.Popen[bytes]) -> int:
    """Asks a process to save and end; returns its exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(SECONDS_TO_SAVE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()
