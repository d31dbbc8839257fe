"""A study: the same run under several conditions, with several seeds, and what came of it."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m5jax.configuration.run_command import KINDS, RunCommand
from m5jax.errors import UserError, unknown_name
from m5jax.studies.conditions import Axes, expand
from m5jax.studies.planned_runs import PlannedRun, plan_runs
from m5jax.studies.read_runs import find_runs, read_runs
from m5jax.studies.reading import read_run
from m5jax.studies.results import StudiedRun, StudyResults

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from m5jax.studies.make_runs import Outcome


class Study:
    """Runs of one command, each condition with each seed.

    Args:
      base: a gin file of a training, or the words of a command line: `["finetune", "--from=runs/a", ...]`.
      axes: what differs: values by the name of a gin parameter, macro or flag (`--from`), all combined; or a list of
        conditions, each with values by name.
      seeds: how many, or which.
      directory: where everything of the study lies.
      evaluations: by name, flags of `m5jax evaluate` with which each run is evaluated.

    Raises:
      UserError: a value is missing or stands twice, or the command is none of which a study is made.
    """

    def __init__(
        self,
        base: str | Path | Sequence[str],
        axes: Axes,
        *,
        directory: str | Path,
        seeds: int | Sequence[int] = 3,
        evaluations: Mapping[str, Sequence[str]] | None = None,
    ):
        words = ["train", f"--gin_file={base}"] if isinstance(base, str | Path) else list(base)
        if not words or words[0] not in KINDS:
            raise unknown_name("command of a study", words[0] if words else "", KINDS)
        self.directory = Path(directory)
        self.conditions = expand(axes)
        self.seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"seeds = {seeds!r}; allowed: how many, 1 and above, or different seeds")
        self._command, self._evaluations = RunCommand(tuple(words)), dict(evaluations or {})

    @staticmethod
    def from_runs(pattern: str, axes: Sequence[str] = ()) -> StudyResults:
        """Returns the runs that a pattern such as `runs/*` names, as the results of a study; see `read_runs`."""
        return read_runs(find_runs(pattern), axes)

    @functools.cached_property
    def runs(self) -> list[PlannedRun]:
        """Those that the study has, or is to have.

        Raises:
          UserError: a binding does not exist, a value is not allowed, or two runs would be the same.
        """
        return plan_runs(self._command, self.conditions, self.seeds, self._evaluations, self.directory)

    def run(self, workers: int = 1, *, only: int | None = None) -> "Outcome":
        """Makes the runs that are not finished, and goes on past those that fail.

        Args:
          workers: runs at a time.
          only: the number of the one run to make, as of a job array.

        Raises:
          UserError: see `runs`; or there is no such run, or the directory cannot be written.
        """
        from m5jax.studies.make_runs import make_runs

        if workers < 1:
            raise UserError(f"workers = {workers}; allowed: 1 and above")
        if only is not None and not 0 <= only < len(self.runs):
            raise UserError(f"there is no run {only}; allowed: 0 to {len(self.runs) - 1}")
        return make_runs(self.runs if only is None else [self.runs[only]], self.directory, workers)

    def submit(self, scheduler: str, output: str | Path, *, start: bool = False, **options: Any) -> str:
        """Writes what makes the runs on a cluster, "slurm" or "jobset", starts them where `start` is true, and returns
        the command that does, or what it says; see `m5jax.studies.submit.write_jobs` for the options."""
        from m5jax.studies.submit import start_jobs, write_jobs

        command = write_jobs(self.runs, scheduler, Path(output), **options)
        return start_jobs(command) if start else command

    @property
    def results(self) -> StudyResults:
        """The runs that are finished by now."""
        studied, left_out = [], {}
        for run in self.runs:
            try:
                if not run.is_finished:
                    raise UserError("it has not ended" if run.files.run_dir.exists() else "it has not begun")
                studied.append(StudiedRun(run.condition.values, str(run.seed), read_run(run.files.run_dir)))
            except UserError as error:
                left_out[str(run.files.run_dir)] = str(error)
        first = self.conditions[0].values
        return StudyResults(tuple(first), tuple(studied), left_out, baseline=first)

    def table(self, *metrics: str, **options: Any) -> "pd.DataFrame":
        """Returns mean, interval and number of runs of metrics; see `StudyResults.table`."""
        return self.results.table(*metrics, **options)

    def plot(self, kind: str, *metrics: str, **options: Any) -> "Figure":
        """Returns a picture: "curves" of a metric, a "heat_map" of one, or "pareto" of a metric and a cost."""
        return self.results.plot(kind, *metrics, **options)

    def significance(self, metric: str, **options: Any) -> "pd.DataFrame":
        """Returns differences from the first condition; see `StudyResults.significance`."""
        return self.results.significance(metric, **options)

    def to_latex(self, *metrics: str, **options: Any) -> str:
        """Returns a table as LaTeX; see `StudyResults.to_latex`."""
        return self.results.to_latex(*metrics, **options)
