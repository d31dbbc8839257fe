"""A study described by a gin file, for the command line and for clusters:

Study.base = 'gin_configs/experiments/quickstart.gin'
Study.axes = {'Cosine.peak': [1e-3, 3e-3], 'BATCH_SIZE': [8, 16]}
Study.seeds = 3
Study.directory = 'runs/peaks'
Study.metrics = ['evaluation/en/loss']
"""

import dataclasses
from pathlib import Path
from typing import Any

from m5jax.configuration.settings_file import is_integer, is_text, is_texts, read_settings
from m5jax.errors import UserError
from m5jax.studies.study import Study

METRICS = ("evaluation/en/loss",)  # where none is named


def _is_grid(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_text, value))


def _is_axes(value: Any) -> bool:
    return _is_grid(value) or (isinstance(value, list | tuple) and all(map(_is_grid, value)))


def _is_seeds(value: Any) -> bool:
    return is_integer(value) or (isinstance(value, list | tuple) and all(map(is_integer, value)))


def _is_evaluations(value: Any) -> bool:
    return _is_grid(value) and all(map(is_texts, value.values()))


_CHECKS = {
    "base": (lambda value: is_text(value) or is_texts(value), "a gin file, or the words of a command"),
    "axes": (_is_axes, "{'NAME': [VALUE, VALUE]}, or a list of {'NAME': VALUE}"),
    "seeds": (_is_seeds, "how many, or a list of integers"),
    "directory": (is_text, "a text"),
    "evaluations": (_is_evaluations, "{'NAME': ['--data=FILE']}"),
    "metrics": (is_texts, "a list of names"),
}


@dataclasses.dataclass(frozen=True)
class StudyFile:
    """A study, and the metrics that its tables show."""

    study: Study
    metrics: tuple[str, ...]


def read_study_file(path: Path) -> StudyFile:
    """Returns the study of a gin file.

    Raises:
      UserError: the file cannot be read, or does not describe a study.
    """
    values = read_settings(path, "Study", _CHECKS, "what all runs have is for the gin file of Study.base")
    for name in ("base", "axes", "directory"):
        if name not in values:
            raise UserError(f"{path} does not bind Study.{name}; allowed: {_CHECKS[name][1]}")
    metrics = tuple(values.pop("metrics", METRICS))
    return StudyFile(Study(values.pop("base"), values.pop("axes"), **values), metrics)
