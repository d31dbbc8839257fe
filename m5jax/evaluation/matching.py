"""The units that two systems both answered, with the answers of each."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from m5jax.errors import UserError
from m5jax.evaluation.prediction_columns import TRUTH, row_keys, unit_keys
from m5jax.evaluation.predictions import Predictions


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """A system's rows of predictions.

    Args:
        table: rows in the order of their units.
        units: which unit each row is of, int64 [rows], rising from 0; of most kinds there is one a unit.
    """

    table: pa.Table
    units: np.ndarray

    def column(self, name: str) -> np.ndarray:
        """Returns [rows]: numbers, booleans, or objects (strings; arrays of strings)."""
        return self.table[name].to_numpy()

    def where(self, chosen: np.ndarray) -> "Answers":
        """Returns the rows that bool [rows] chooses, with their units numbered from 0."""
        rows = np.flatnonzero(chosen)
        return Answers(self.table.take(rows), np.unique(self.units[rows], return_inverse=True)[1])

    def of(self, places: np.ndarray) -> "Answers":
        """Returns the rows of some units, int64 [units], rising; these are units 0, 1, 2 ... there."""
        rows = np.flatnonzero(np.isin(self.units, places))
        return Answers(self.table.take(rows), np.searchsorted(places, self.units[rows]))


@dataclasses.dataclass(frozen=True, eq=False)
class Matched:
    """What two systems answered.

    Args:
        groups: of the units that both answered, [units].
        first, second: the answers to these units.
        only_first, only_second: how many units one system answered and the other did not.
    """

    groups: Sequence[str]
    first: Answers
    second: Answers
    only_first: int
    only_second: int


def match(first: Predictions, second: Predictions) -> Matched:
    """Returns the answers to common units, by rising group and unit.

    Raises:
        UserError: kinds, data or settings differ, no unit is common, or what is right for a common one differs.
    """
    for what, here, there in (
        ("kind", first.kind, second.kind),
        ("the fingerprint of their data", first.fingerprint, second.fingerprint),
        ("settings", dict(first.settings), dict(second.settings)),
    ):
        if here != there:
            raise UserError(f"they differ in {what}, {here!r} and {there!r}; only evaluations on the same are compared")
    names = [_unit_names(predictions) for predictions in (first, second)]
    found = [set(of) for of in names]
    common = sorted(found[0] & found[1])
    if not common:
        raise UserError("they have no unit in common")
    places = {name: place for place, name in enumerate(common)}
    one, other = _answers(first, names[0], places), _answers(second, names[1], places)
    _check_truth(first.kind, one.table, other.table)
    groups = [group for group, _ in common]
    return Matched(groups, one, other, len(found[0]) - len(common), len(found[1]) - len(common))


def _unit_names(predictions: Predictions) -> list[tuple[str, str]]:
    groups, units = (predictions.table[name].to_pylist() for name in unit_keys(predictions.kind))
    return list(zip(groups, units, strict=True))


def _answers(predictions: Predictions, names: Sequence[tuple[str, str]], places: dict[tuple[str, str], int]) -> Answers:
    units = np.array([places.get(name, -1) for name in names], np.int64)
    order = np.argsort(units, kind="stable")
    rows = order[units[order] >= 0]
    return Answers(predictions.table.take(rows), units[rows])


def _check_truth(kind: str, first: pa.Table, second: pa.Table) -> None:
    truths = [_truth(kind, table) for table in (first, second)]
    # Of search, rows are what a system found.
    if kind != "search" and (odd := truths[0].keys() ^ truths[1].keys()):
        raise UserError(f"they differ in the rows of a unit, as in {min(odd)}; the data is not the same")
    for row, said in truths[0].items():
        if truths[1].get(row, said) != said:
            where = ", ".join(f"{name} {value!r}" for name, value in zip(row_keys(kind), row, strict=True))
            raise UserError(
                f"they differ in what is right of {where}, {said} and {truths[1][row]}; the data is not the same"
            )


def _truth(kind: str, table: pa.Table) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    keys, values = ([table[name].to_pylist() for name in names] for names in (row_keys(kind), TRUTH[kind]))
    return dict(zip(zip(*keys, strict=True), zip(*values, strict=True), strict=True))
