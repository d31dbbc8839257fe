"""The runs of a study: each condition with each seed, in a directory named by what it computes."""

import ast
import dataclasses
import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from m5jax.configuration.command_line import check_evaluation, describe_command
from m5jax.configuration.fine_tuned_result import read_result
from m5jax.configuration.run_command import RunCommand
from m5jax.configuration.run_process import RunFiles
from m5jax.errors import UserError
from m5jax.evaluation.report_data import FILE_NAME as REPORT
from m5jax.evaluation.report_data import read_report_data
from m5jax.evaluation.reports import EVALUATIONS
from m5jax.evaluation.tables import read_summary
from m5jax.studies.conditions import Condition

RUNS = "runs"
_SEED_FLAGS = {
    "train": ("--gin.TrainerConfig.seed={}", "--gin.DataConfig.seed={}"),
    "finetune": ("--seed={}",),
}
_LONGEST = 80


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run that a study has, or is to have.

    Attributes:
      condition: of it and of the runs with other seeds.
      seed: of initialization, order, masking and dropout.
      command: that makes it, without its directory.
      evaluations: by name, flags of `m5jax evaluate` with which it is evaluated afterwards.
      digest: of all that its command configures.
      files: where it lies.
      steps: that it trains for; None: that is not known before.
    """

    condition: Condition
    seed: int
    command: RunCommand
    evaluations: Mapping[str, tuple[str, ...]]
    digest: str
    files: RunFiles
    steps: int | None

    @property
    def label(self) -> str:
        return ", ".join(filter(None, [self.condition.label, f"seed={self.seed}"]))

    @property
    def is_trained(self) -> bool:
        if read_summary(self.files.run_dir).finished is None:
            return False
        return not self.command.kind.keeps_best or read_result(self.files.run_dir) is not None

    @property
    def missing_evaluations(self) -> list[str]:
        return [name for name in self.evaluations if not self.is_evaluated(name)]

    def is_evaluated(self, name: str) -> bool:
        return (self.files.run_dir / EVALUATIONS / name / REPORT).exists()

    def check_evaluations(self) -> None:
        """Raises UserError where there is a report of one of the evaluations that was made with other flags."""
        for name in self.evaluations:
            if self.is_evaluated(name):
                folder = self.files.run_dir / EVALUATIONS / name
                command = read_report_data(folder).facts.get("command", "")
                if command and _flags(shlex.split(command)[1:]) != _flags(self.evaluate_words(name)):
                    raise UserError(f"{folder} was made by {command!r}; remove it, or name the evaluation otherwise")

    @property
    def is_finished(self) -> bool:
        return self.is_trained and not self.missing_evaluations

    @property
    def state(self) -> str:
        """In words: finished, trained (and to be evaluated), begun, to do, or damaged: its files cannot be read."""
        try:
            if self.is_trained:
                return "trained" if self.missing_evaluations else "finished"
        except UserError:
            return "damaged"
        return "begun" if self.files.run_dir.exists() else "to do"

    def train_words(self) -> list[str]:
        """Returns the command line that trains it, without the program."""
        return self.command.line((), self.files.run_dir)

    def evaluate_words(self, name: str) -> list[str]:
        """Returns the command line of one of its evaluations, without the program."""
        return ["evaluate", f"--run={self.files.run_dir}", f"--name={name}", *self.evaluations[name]]


def _flags(words: Sequence[str]) -> list[str]:
    """Returns the flags of `m5jax evaluate` that say how, and not what, is evaluated."""
    return sorted(word for word in words if not word.startswith("--run="))


def plan_runs(
    command: RunCommand,
    conditions: Sequence[Condition],
    seeds: Sequence[int],
    evaluations: Mapping[str, Sequence[str]],
    directory: Path,
) -> list[PlannedRun]:
    """Returns the runs of a study, those of one condition after each other.

    The name of a run's directory ends in a hash of all that its command configures: what changes makes another run, and
    what does not change is never made twice, whatever axes it is written with.

    Raises:
      UserError: a command describes no run, or two conditions the same one; or an evaluation has other flags than those
        of `m5jax evaluate`.
    """
    for name, flags in evaluations.items():
        check_evaluation(name, flags)
    known = _known_names(directory)
    runs: dict[str, PlannedRun] = {}
    for condition in conditions:
        for seed in seeds:
            flags = [flag.format(seed) for flag in _SEED_FLAGS[command.words[0]]]
            own = dataclasses.replace(command, words=(*command.words, *condition.words, *flags))
            described = describe_command(own.line((), directory / RUNS / "0"))
            digest = _digest(described)
            if digest in runs:
                raise UserError(
                    f"the axes make two runs that are the same: {runs[digest].condition.label} and {condition.label}"
                )
            files = RunFiles(directory, RUNS, known.get(digest) or _name(condition, seed, digest))
            chosen = {name: tuple(own_flags) for name, own_flags in evaluations.items()}
            runs[digest] = PlannedRun(condition, seed, own, chosen, digest, files, _steps(described))
    return list(runs.values())


def _digest(described: Mapping[str, str]) -> str:
    """Returns 8 hexadecimal digits of the values, however they were written."""
    values = {name: _canonical(text) for name, text in described.items()}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def _canonical(text: str) -> str:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(float(value))
    return repr(sorted(value.items(), key=repr)) if isinstance(value, dict) else text


def _known_names(directory: Path) -> dict[str, str]:
    """Returns the names of the runs that are there, by their digests."""
    names = (path.name for path in (directory / RUNS).glob("*"))
    return {name.rpartition("-")[2]: name for name in names}


def _name(condition: Condition, seed: int, digest: str) -> str:
    return f"{_slug(condition.label)}-seed{seed}-{digest}".lstrip("-")


def _steps(described: Mapping[str, str]) -> int | None:
    steps = int(described.get("TrainerConfig.steps") or described.get("FineTuning.steps") or 0)
    return steps or None


def _slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=_-]+", "_", label)[:_LONGEST].strip("_")
