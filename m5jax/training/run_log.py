"""The history of a run: one line a report in `metrics.jsonl`, and the same numbers as TensorBoard event files.

Names of values are paths: `train/loss`, `train/learning_rate`, `train/gradient_norm`, `evaluation/de/loss`,
`evaluation/de/accuracy`, `mixture/de` (share of predictions), `speed/tokens_per_second`.
"""

import json
import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, SupportsFloat

from m5jax.errors import UserError

logger = logging.getLogger(__name__)

FILE_NAME = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"
RESERVED = ("step", "time")
FINITE = ("loss", "gradient_norm")  # of `train/`, as long as a run is of use


class RunLog:
    """Appends the values of a run to `run_dir/metrics.jsonl` and `run_dir/tensorboard`; one process a run writes.

    A line is `{"step": 20, "time": unix seconds, "train/loss": 3.1, ...}`. JSON has no NaN and no infinity: they are
    the strings "NaN", "Infinity" and "-Infinity", which `pandas.read_json(path, lines=True)` turns back into floats.

    Args:
        run_dir: made where it is missing.
        resume_step: the step of the checkpoint that the run goes on from. Lines of later steps, left by a run that was
            killed after that checkpoint, are dropped, as they will be written again. 0: the run starts anew and
            keeps no earlier line.

    Raises:
        UserError: the directory or the files in it cannot be written, or a line of an earlier history is broken.
    """

    def __init__(self, run_dir: Path, resume_step: int = 0) -> None:
        # Here, so that the training loop can be imported (and timed) where only jax and its libraries are installed.
        from m5jax.training.tensorboard_file import TensorBoardFile

        first_step = resume_step + 1 if resume_step else 0
        self.path = run_dir / FILE_NAME
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            _drop_from(self.path, first_step)
            self._file = self.path.open("a", encoding="utf-8", buffering=1)
            self._tensorboard = TensorBoardFile(run_dir / TENSORBOARD_FOLDER, first_step, f".{resume_step}")
        except OSError as error:
            raise _write_error(self.path, error) from error

    def write(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """Writes the scalars of one step, all in one line; several lines of one step are allowed.

        Raises:
            UserError: the disk is full or the file cannot be written.
            ValueError: a value is named `step` or `time`.
        """
        if clash := [name for name in RESERVED if name in values]:
            raise ValueError(f"a value may not be named {clash[0]!r}")
        now = time.time()
        scalars = {name: float(value) for name, value in values.items()}
        line = {"step": int(step), "time": round(now, 3)} | {name: _to_json(value) for name, value in scalars.items()}
        try:
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
            self._tensorboard.write(int(step), now, scalars)
        except OSError as error:
            raise _write_error(self.path, error) from error

    def close(self) -> None:
        """Flushes and closes the files; a second call does nothing.

        Raises:
            UserError: the disk is full.
        """
        try:
            try:
                self._file.close()
            finally:
                self._tensorboard.close()
        except OSError as error:
            raise _write_error(self.path, error) from error

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except UserError as close_error:
            if kind is None:
                raise
            logger.warning("%s", close_error)  # and the error under way goes on


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """Returns the lines of `run_dir/metrics.jsonl`: `step` an int, `time` and every value a float.

    A half-written last line, as a kill leaves it, is left out.

    Raises:
        UserError: the file is missing, or another line is not an object with a step.
    """
    path = run_dir / FILE_NAME
    try:
        # Undecodable bytes can only be where a write was cut; the line then fails to parse.
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            rows.append(_parse(line))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            if number == len(lines):
                break
            raise UserError(
                f"{path}:{number}: not a line of metrics; allowed: an object of numbers with a step"
            ) from error
    return rows


def _parse(line: str) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise TypeError("not an object")
    return {name: float(value) for name, value in row.items()} | {"step": int(row["step"])}


def _to_json(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _drop_from(path: Path, first_step: int) -> None:
    """Rewrites the file without the lines of `first_step` and later, and without a half-written last one."""
    if not path.exists():
        return
    kept = [row for row in read_metrics(path.parent) if row["step"] < first_step]
    replacement = path.with_suffix(".jsonl.new")
    with replacement.open("w", encoding="utf-8") as file:
        for row in kept:
            file.write(json.dumps({name: _to_json(value) for name, value in row.items()}, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(replacement, path)


def _write_error(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {error.filename or path}: {error.strerror or error}")
