"""Any run directories, read as a study: what differs between their configurations is what was varied."""

import ast
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from m5jax.errors import UserError, unknown_name
from m5jax.studies.reading import RunReading, read_run
from m5jax.studies.results import StudiedRun, StudyResults

SEEDS = ("TrainerConfig.seed", "DataConfig.seed", "FineTuning.seed")
# Where and how fast a run is made, and not what.
_NOT_VARIED = {
    *SEEDS,
    *("RUN_DIR", "Run.run_dir", "FineTuning.run_dir", "Run.task_modules", "DataConfig.cache_dir"),
    *("TrainerConfig.log_every", "FineTuning.log_every", "TrainerConfig.checkpoint_every"),
}


def read_runs(directories: Iterable[Path], axes: Sequence[str] = ()) -> StudyResults:
    """Returns the runs of directories; those that have not ended, or whose files are damaged, are left out and named.

    Args:
      directories: of runs.
      axes: names of parameters that tell conditions apart; none: all that differ.

    Raises:
      UserError: none of them is a run directory, or no run binds one of the axes.
    """
    readings: list[RunReading] = []
    left_out: dict[str, str] = {}
    for directory in directories:
        try:
            reading = read_run(directory)
        except UserError as error:
            left_out[str(directory)] = str(error)
            continue
        if reading.is_finished:
            readings.append(reading)
        else:
            left_out[str(directory)] = "it has not ended"
    if not readings:
        reasons = "; ".join(list(left_out.values())[:3]) or "no directory is named so"
        raise UserError(f"there is no finished run: {reasons}")
    configs = [reading.config for reading in readings]
    for name in axes:
        if not any(name in config for config in configs):
            raise unknown_name("parameter of these runs", name, sorted(set().union(*configs)))
    axes = axes or _varied(configs)
    runs = [
        StudiedRun({name: _value(reading.config.get(name, "")) for name in axes}, _seed(reading), reading)
        for reading in readings
    ]
    return StudyResults(tuple(axes), tuple(runs), left_out)


def find_runs(pattern: str) -> list[Path]:
    """Returns the directories that a pattern such as `runs/*` names, in order of their names."""
    path = Path(pattern)
    base = Path(path.anchor) if path.is_absolute() else Path()
    relative = path.relative_to(path.anchor) if path.is_absolute() else path
    return sorted(found for found in base.glob(str(relative)) if found.is_dir())


def _varied(configs: Sequence[Mapping[str, str]]) -> list[str]:
    names = dict.fromkeys(name for config in configs for name in config if name not in _NOT_VARIED)
    return [name for name in names if len({config.get(name) for config in configs}) > 1]


def _seed(reading: RunReading) -> str:
    return ", ".join(dict.fromkeys(reading.config[name] for name in SEEDS if name in reading.config))


def _value(text: str) -> Any:
    """Returns the Python value of a text of gin; references stay as they are."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, bool | int | float | str) else text
