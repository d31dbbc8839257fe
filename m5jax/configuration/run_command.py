"""Command lines that train, of which many runs are made: each with values and a directory of its own."""

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

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
class RunCommand:
    """A command line without a run directory and without the values that differ between runs.

    Attributes:
      words: the subcommand, of `KINDS`, and its flags.
      program: what runs them.
    """

    words: tuple[str, ...]
    program: tuple[str, ...] = M5JAX

    @property
    def kind(self) -> Kind:
        return KINDS[self.words[0]]

    def line(self, flags: Sequence[str], run_dir: Path) -> list[str]:
        """Returns the words of a run with more flags, without the program."""
        return [*self.words, *flags, self._run_dir(run_dir)]

    def text(self, flags: Sequence[str] = (), run_dir: Path | None = None) -> str:
        """Returns the command, of a run where a directory is given, as a person types it."""
        words = [*self.words, *flags] if run_dir is None else self.line(flags, run_dir)
        return shlex.join(["m5jax", *words]).replace("\n", " ")

    def _run_dir(self, run_dir: Path) -> str:
        return self.kind.run_dir_flag + (repr(str(run_dir)) if self.kind.gin_quoted else str(run_dir))
