"""How far a study is, for people: bars in a terminal, one line in a notebook."""

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Self

from tqdm import tqdm

from m5jax.errors import UserError
from m5jax.studies.planned_runs import PlannedRun
from m5jax.training.run_log import FILE_NAME as METRICS
from m5jax.training.run_log import read_metrics

_EVERY = 10  # looks; all that a notebook shows is kept in it


class StudyProgress:
    """How many runs are done, and the steps of those that are being made.

    Args:
      total: the runs of the study.
    """

    def __init__(self, total: int):
        self._in_notebook = "ipykernel" in sys.modules
        shown = False if self._in_notebook else None
        self._runs = tqdm(total=total, desc="runs", unit=" runs", disable=shown, position=0)
        self._steps: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runs.close()

    def count(self) -> None:
        """Shows that another run is done."""
        self._runs.update()

    @contextlib.contextmanager
    def of_run(self, run: PlannedRun, place: int) -> Iterator[Callable[[], object]]:
        """Yields what shows how far a run is each time that it is called.

        Args:
          run: that is being made.
          place: of it among those that are being made, from 1.
        """
        if self._in_notebook:  # which keeps one line up to date, and not several
            looks = itertools.count()
            yield lambda: None if next(looks) % _EVERY else self._show_beside(run, place)
            return
        with tqdm(total=run.steps, desc=run.label, unit=" steps", disable=None, position=place, leave=False) as bar:
            yield lambda: None if bar.disable else bar.update(_step(run) - bar.n)

    def _show_beside(self, run: PlannedRun, place: int) -> None:
        of_all = f"/{run.steps}" if run.steps else ""  # a fine-tuning by epochs counts its steps when it has its data
        self._steps[f"run {place}"] = f"{_step(run)}{of_all} steps"
        self._runs.set_postfix(self._steps)


def _step(run: PlannedRun) -> int:
    """Returns how far a run is."""
    with contextlib.suppress(UserError):  # the run itself says what is wrong with its files
        if (run.files.run_dir / METRICS).exists() and (rows := read_metrics(run.files.run_dir)):
            return int(rows[-1]["step"])
    return 0
