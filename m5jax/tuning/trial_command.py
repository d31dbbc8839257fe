"""The commands that trials can run, and how a trial is told its values and its directory."""

import dataclasses
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from m5jax.tuning.ranges import gin_text

M5JAX = (sys.executable, "-m", "m5jax.cli.main")


@dataclasses.dataclass(frozen=True)
class Kind:
    """A subcommand of m5jax.

    Attributes:
      run_dir_flag: what its run directory is given with.
      gin_quoted: whether that is a text of gin.
      takes_gin_files: whether it has `--gin_file`; all take `--gin.NAME=VALUE`.
      keeps_best: whether what it keeps is its best checkpoint, and not the last.
    """

    run_dir_flag: str
    gin_quoted: bool
    takes_gin_files: bool
    keeps_best: bool


KINDS = {
    "train": Kind("--gin.RUN_DIR=", gin_quoted=True, takes_gin_files=True, keeps_best=False),
    "finetune": Kind("--run_dir=", gin_quoted=False, takes_gin_files=False, keeps_best=True),
}


@dataclasses.dataclass(frozen=True)
class TrialCommand:
    """A command line without a run directory and without the values that are tuned.

    Attributes:
      words: the subcommand, of `KINDS`, and its flags.
      program: what runs them.
    """

    words: tuple[str, ...]
    program: tuple[str, ...] = M5JAX

    @property
    def kind(self) -> Kind:
        return KINDS[self.words[0]]

    def line(self, values: Mapping[str, float | str], run_dir: Path) -> list[str]:
        """Returns the words of a trial, without the program."""
        return [*self.words, *_bindings(values), self._run_dir(run_dir)]

    def text(self) -> str:
        """Returns the command as a person types it."""
        return _typed(self.words)

    def text_with_best(self, values: Mapping[str, float | str], gin_file: Path) -> str:
        """Returns the command as a person types it to use tuned values, which `gin_file` binds."""
        best = [f"--gin_file={gin_file}"] if self.kind.takes_gin_files else _bindings(values)
        return _typed([*self.words, *best, self._run_dir(Path("runs/best"))])

    def _run_dir(self, run_dir: Path) -> str:
        return self.kind.run_dir_flag + (repr(str(run_dir)) if self.kind.gin_quoted else str(run_dir))


def _bindings(values: Mapping[str, float | str]) -> list[str]:
    return [f"--gin.{name}={gin_text(value)}" for name, value in values.items()]


def _typed(words: list[str] | tuple[str, ...]) -> str:
    return shlex.join(["m5jax", *words]).replace("\n", " ")
