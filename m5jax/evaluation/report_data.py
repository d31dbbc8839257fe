"""What an evaluation found, in `report.json`: figures per group, curves, confusion, the worst mistakes."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from m5jax.errors import UserError, unknown_name
from m5jax.evaluation.estimates import Estimate
from m5jax.evaluation.prediction_columns import KINDS

FILE_NAME = "report.json"
FORMAT, VERSION = "m5jax evaluation", 1


@dataclasses.dataclass(frozen=True)
class Group:
    """The metrics of one group (a language, a data set, a system), by name."""

    name: str
    metrics: Mapping[str, Estimate]


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a curve: its points in order; raises UserError where the numbers of x and y differ or one is NaN."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise UserError(f"line {self.name!r} has {len(self.x)} x and {len(self.y)} y; allowed: equally many")
        if not all(map(math.isfinite, (*self.x, *self.y))):
            raise UserError(f"line {self.name!r} holds NaN or an infinity")


@dataclasses.dataclass(frozen=True)
class Curve:
    """Lines in one picture.

    Args:
        title: of the picture.
        x_label, y_label: of its axes.
        lines: may be none.
        diagonal: also show where y is x, as of a model whose scores are probabilities.
    """

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    diagonal: bool


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Confusion: `counts[i][j]` units of label i that were predicted to be of label j.

    Raises:
        UserError: the counts are not [labels, labels], one is negative, or a label is there twice.
    """

    title: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if {len(self.counts), *map(len, self.counts)} - {len(self.labels)}:
            raise UserError(f"the counts of {self.title!r} are not {len(self.labels)} by {len(self.labels)}")
        if any(count < 0 for row in self.counts for count in row):
            raise UserError(f"a count of {self.title!r} is negative; allowed: 0 and above")
        _refuse_twice("labels", self.labels)


@dataclasses.dataclass(frozen=True)
class Example:
    """A mistake worth looking at: a heading, and what is known of it by name."""

    heading: str
    fields: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class EvaluationReport:
    """An evaluation, as `report.json`, `report.md` and `report.html` show it.

    Args:
        title: in a line.
        kind: of its predictions, see `m5jax.evaluation.prediction_columns`.
        facts: what it was made of and how: run, step, data and its fingerprint, threshold and where it was chosen,
            seed, command.
        groups: one or more, of different names; a metric that says nothing of a group is left out there.
        curves, matrices: pictures.
        examples: a few of the worst mistakes, the worst first.
        notes: what was left out, and why.

    Raises:
        UserError: an unknown kind, no group, or two of one name.
    """

    title: str
    kind: str
    facts: Mapping[str, str]
    groups: tuple[Group, ...]
    curves: tuple[Curve, ...] = ()
    matrices: tuple[Matrix, ...] = ()
    examples: tuple[Example, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of evaluation", self.kind, KINDS)
        if not self.groups:
            raise UserError("an evaluation has no group; allowed: 1 and above")
        _refuse_twice("groups", [group.name for group in self.groups])


def write_report_data(folder: Path, report: EvaluationReport) -> Path:
    """Writes `folder/report.json` and returns its path.

    Raises:
        UserError: it cannot be written.
    """
    values = {"format": FORMAT, "version": VERSION, **_fields(report)}
    text = json.dumps(values, indent=1, default=_fields, allow_nan=False)
    path = folder / FILE_NAME
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def read_report_data(folder: Path) -> EvaluationReport:
    """Returns what `folder/report.json` holds.

    Raises:
        UserError: it is missing or damaged, another version's or another program's.
    """
    path = folder / FILE_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise ValueError("it names another format")
        if (version := values.pop("version", None)) != VERSION:
            raise ValueError(f"version {version}; allowed: {VERSION}")
        return _decode(EvaluationReport, values, "the report")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: not the report of an evaluation ({error})") from error


def _fields(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _decode(kind: Any, value: Any, where: str) -> Any:
    """Returns a JSON value as `kind`, which is annotated as the dataclasses above are; raises ValueError elsewhere."""
    arguments = get_args(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        if not isinstance(value, dict) or value.keys() != hints.keys():
            raise ValueError(f"{where} does not have the fields {', '.join(hints)}")
        return kind(**{name: _decode(hint, value[name], f"{where}.{name}") for name, hint in hints.items()})
    if isinstance(kind, UnionType):  # float | None
        return None if value is None else _decode(arguments[0], value, where)
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_decode(arguments[0], item, f"{where}[{place}]") for place, item in enumerate(value))
    if get_origin(kind) is Mapping and isinstance(value, dict):
        return {name: _decode(arguments[1], item, f"{where}[{name!r}]") for name, item in value.items()}
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if kind in (str, int, bool) and type(value) is kind:
        return value
    raise ValueError(f"{where} is no {getattr(kind, '__name__', kind)}")


def _refuse_twice(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UserError(f"two {what} are named {name!r}; allowed: one each")
        seen.add(name)
