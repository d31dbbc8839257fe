"""What a study varies: a grid, or a list, of values that gin binds."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from m5jax.errors import UserError

Axes = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Condition:
    """What some runs of a study have and others have not.

    Attributes:
      values: by name: of a gin parameter or macro (`Cosine.peak`, `BATCH_SIZE`), or of a flag (`--from`).
    """

    values: Mapping[str, Any]

    @property
    def words(self) -> list[str]:
        """The flags of a command that set it."""
        return [
            f"{name}={value}" if name.startswith("--") else f"--gin.{name}={gin_text(value)}"
            for name, value in self.values.items()
        ]

    @property
    def label(self) -> str:
        """The values in short, such as `peak=0.001, layers=2`."""
        shorts = [short_name(name) for name in self.values]
        names = self.values if len(set(shorts)) < len(shorts) else shorts
        return ", ".join(
            f"{name}={short_value(value)}" for name, value in zip(names, self.values.values(), strict=True)
        )


def expand(axes: Axes) -> list[Condition]:
    """Returns the conditions of a grid, the last axis changing fastest, or those of a list.

    Raises:
      UserError: an axis or the list is empty, two conditions are the same, or those of a list have different names.
    """
    conditions = [Condition(values) for values in (_grid(axes) if isinstance(axes, Mapping) else _listed(axes))]
    seen: set[tuple[str, ...]] = set()
    for condition in conditions:
        texts = tuple(gin_text(value) for value in condition.values.values())
        if texts in seen:
            raise UserError(f"the axes make two conditions that are the same: {condition.label}")
        seen.add(texts)
    return conditions


def _grid(axes: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for name, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise UserError(f"the axis {name} is {values!r}; allowed: a list of values, one or more")
    for chosen in itertools.product(*axes.values()):
        yield dict(zip(axes, chosen, strict=True))


def _listed(conditions: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    if not conditions:
        raise UserError("the list of conditions is empty; allowed: one or more")
    for values in conditions:
        if values.keys() != conditions[0].keys():
            names = (", ".join(own) or "nothing" for own in (conditions[0], values))
            raise UserError(f"conditions of a list bind {' and '.join(names)}; allowed: the same names in each")
        yield dict(values)


def gin_text(value: Any) -> str:
    """Returns a value as gin writes it; texts that begin with @ or % are references of gin already."""
    return value if isinstance(value, str) and value[:1] in ("@", "%") else repr(value)


def short_name(name: str) -> str:
    return name.removeprefix("--").rpartition(".")[2]


def short_value(value: Any) -> str:
    """Returns a value as a label shows it: of a path, its end."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).rstrip("/").rpartition("/")[2] or str(value)
