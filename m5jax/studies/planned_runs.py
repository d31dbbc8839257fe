"""The runs of a study: each condition with each seed, in a directory named by what it computes."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from m5jax.configuration.command_line import describe_command
from m5jax.configuration.fine_tuned_result import read_result
from m5jax.configuration.run_command import RunCommand
from m5jax.configuration.run_process import RunFiles
from m5jax.errors import UserError
from m5jax.evaluation.report_data import FILE_NAME as REPORT
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
      files: where it lies.
      steps: that it trains for; None: that is not known before.
    """

    condition: Condition
    seed: int
    command: RunCommand
    evaluations: Mapping[str, tuple[str, ...]]
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
        folder = self.files.run_dir / EVALUATIONS
        return [name for name in self.evaluations if not (folder / name / REPORT).exists()]

    @property
    def is_finished(self) -> bool:
        return self.is_trained and not self.missing_evaluations

    @property
    def state(self) -> str:
        """In words: finished, trained (and to be evaluated), begun, or to do."""
        if self.is_trained:
            return "trained" if self.missing_evaluations else "finished"
        return "begun" if self.files.run_dir.exists() else "to do"

    def train_words(self) -> list[str]:
        """Returns the command line that trains it, without the program."""
        return self.command.line((), self.files.run_dir)

    def evaluate_words(self, name: str) -> list[str]:
        """Returns the command line of one of its evaluations, without the program."""
        return ["evaluate", f"--run={self.files.run_dir}", f"--name={name}", *self.evaluations[name]]


def plan_runs(
    command: RunCommand,
    conditions: Sequence[Condition],
    seeds: Sequence[int],
    evaluations: Mapping[str, Sequence[str]],
    directory: Path,
) -> list[PlannedRun]:
    """Returns the runs of a study, those of one condition after each other.

    The name of a run's directory ends in a hash of all that its command configures and of its evaluations: what
    changes makes another run, and what does not change is never made twice.

    Raises:
      UserError: a command describes no run, or two conditions the same one.
    """
    runs: dict[str, PlannedRun] = {}
    for condition in conditions:
        for seed in seeds:
            flags = [flag.format(seed) for flag in _SEED_FLAGS[command.words[0]]]
            own = dataclasses.replace(command, words=(*command.words, *condition.words, *flags))
            described = describe_command(own.line((), directory / RUNS / "0"))
            digest = _digest(described, evaluations)
            if digest in runs:
                raise UserError(
                    f"the axes make two runs that are the same: {runs[digest].condition.label} and {condition.label}"
                )
            files = RunFiles(directory, RUNS, f"{_slug(condition.label)}-seed{seed}-{digest[:8]}".lstrip("-"))
            chosen = {name: tuple(own_flags) for name, own_flags in evaluations.items()}
            runs[digest] = PlannedRun(condition, seed, own, chosen, files, _steps(described))
    return list(runs.values())


def _digest(described: Mapping[str, str], evaluations: Mapping[str, Sequence[str]]) -> str:
    text = json.dumps([dict(described), {name: list(flags) for name, flags in evaluations.items()}], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _steps(described: Mapping[str, str]) -> int | None:
    steps = int(described.get("TrainerConfig.steps") or described.get("FineTuning.steps") or 0)
    return steps or None


def _slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=_-]+", "_", label)[:_LONGEST].strip("_")
