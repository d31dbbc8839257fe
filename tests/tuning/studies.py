"""Studies of trials that take no time, and what is in them afterwards.

As a program, works on the study of a directory:  python -m tests.tuning.studies DIRECTORY WORKERS WORD...
"""

import sys
from pathlib import Path

from m5jax.configuration.run_command import RunCommand
from m5jax.tuning.settings import Tuning
from m5jax.tuning.study import work_on_study
from m5jax.tuning.study_directory import open_study
from m5jax.tuning.worker import Work

FAKE = (sys.executable, "-S", str(Path(__file__).with_name("fake_run.py")))
RANGES = {"x": "0.0..1.0", "y": "1..8 int log", "kind": "'a'|'b'"}
NEVER = 1000


def make_work(
    directory: Path, *words: str, command: str = "train", definition: dict[str, str] | None = None, **tuning: object
) -> Work:
    """Returns work on a study of 14 trials that are never pruned, unless said otherwise."""
    settings: dict = {"ranges": RANGES, "trials": 14, "startup_trials": NEVER, **tuning}
    return Work(
        directory=directory,
        tuning=Tuning(**settings),
        command=RunCommand((command, *words), FAKE),
        definition=definition or {"command": "fake"},
        seconds=0.01,
    )


def trials_of(work: Work) -> list:
    return open_study(work.directory, work.tuning, work.definition).get_trials()


def told(work: Work) -> list:
    """Returns what a study knows of each trial, but when it was."""
    return [
        (trial.number, trial.state.name, trial.params, trial.values, trial.intermediate_values, trial.user_attrs)
        for trial in trials_of(work)
    ]


if __name__ == "__main__":
    work_on_study(make_work(Path(sys.argv[1]), *sys.argv[3:], startup_trials=3), int(sys.argv[2]))
