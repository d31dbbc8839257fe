"""What a study varies: a grid, or a list, of values that gin binds."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m5jax.errors import UserError

Axes = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Condition:
    """What some runs of a study have and others have not.

    Attributes:
      values: by name: of a gin parameter or macro (`Cosine.peak`, `BATCH_SIZE`), or of a flag (`--from`).
      label: them in short, such as `peak=0.001, layers=2`; no other condition of the study has it.
    """

    values: Mapping[str, Any]
    label: str

    @property
    def words(self) -> list[str]:
        """The flags of a command that set it."""
        return [
            f"{name}={value}" if name.startswith("--") else f"--gin.{name}={gin_text(value)}"
            for name, value in self.values.items()
        ]


def expand(axes: Axes) -> list[Condition]:
    """Returns the conditions of a grid, the last axis changing fastest, or those of a list.

    Raises:
      UserError: an axis or the list is empty, two conditions are the same, or those of a list have different names.
    """
    found = list(_grid(axes) if isinstance(axes, Mapping) else _listed(axes))
    conditions = [Condition(values, label) for values, label in zip(found, labels_of(found), strict=True)]
    seen: set[tuple[str, ...]] = set()
    for condition in conditions:
        texts = tuple(gin_text(value) for value in condition.values.values())
        if texts in seen:
            raise UserError(f"the axes make two conditions that are the same: {condition.label}")
        seen.add(texts)
    return conditions


def _grid(axes: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for name, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray) or not len(values):
            raise UserError(f"the axis {name} is {values!r}; allowed: a list of values, one or more")
    for chosen in itertools.product(*axes.values()):
        yield {name: _plain(value) for name, value in zip(axes, chosen, strict=True)}


def _listed(conditions: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    if not conditions:
        raise UserError("the list of conditions is empty; allowed: one or more")
    for values in conditions:
        if values.keys() != conditions[0].keys():
            names = (", ".join(own) or "nothing" for own in (conditions[0], values))
            raise UserError(f"conditions of a list bind {' and '.join(names)}; allowed: the same names in each")
        yield {name: _plain(values[name]) for name in conditions[0]}


def _plain(value: Any) -> Any:
    """Returns a value as gin can write it: NumPy's numbers and paths are none of its."""
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def gin_text(value: Any) -> str:
    """Returns a value as gin writes it; texts that begin with @ or % are references of gin already."""
    return value if isinstance(value, str) and value[:1] in ("@", "%") else repr(value)


def labels_of(conditions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a label for each condition, all of the same names; different conditions have different labels."""
    if not conditions:
        return []
    names = short_names(list(conditions[0]))
    columns = [short_values([values[name] for values in conditions]) for name in conditions[0]]
    rows = zip(*columns, strict=True) if columns else [()] * len(conditions)
    return [", ".join(f"{name}={text}" for name, text in zip(names, row, strict=True)) for row in rows]


def short_names(names: Sequence[str]) -> list[str]:
    """Returns what is behind the last dot of each name, or the names where that is not told apart."""
    shorts = [name.removeprefix("--").rpartition(".")[2] for name in names]
    return shorts if len(set(shorts)) == len(shorts) else list(names)


def short_values(values: Sequence[Any]) -> list[str]:
    """Returns values as tables show them: numbers to four digits, of paths the end; whole where these are not told
    apart."""
    texts = [str(value) for value in values]
    shorts = [_short(value) for value in values]
    return shorts if len(set(shorts)) == len(set(texts)) else texts


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).rstrip("/").rpartition("/")[2] or str(value)
