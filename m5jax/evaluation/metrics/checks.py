"""What metrics are computed from, checked: one axis, something in it, no NaN."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from m5jax.errors import UserError

Values: TypeAlias = np.ndarray | Sequence[float]
Labels: TypeAlias = np.ndarray | Sequence[str] | Sequence[int]


def numbers(name: str, values: Values) -> np.ndarray:
    """Returns float64 [rows].

    Raises:
        UserError: there is none, or one is not a finite number.
    """
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} must be one number a row ({error})") from error
    _check_rows(name, array)
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array)))
        raise UserError(f"{name} of row {row} is {array[row]}; allowed: finite numbers")
    return array


def probabilities(name: str, values: Values) -> np.ndarray:
    """Returns float64 [rows].

    Raises:
        UserError: there is none, or one is not from 0 to 1.
    """
    array = numbers(name, values)
    if array.min() < 0 or array.max() > 1:
        raise UserError(f"{name} go from {array.min():g} to {array.max():g}; allowed: probabilities, 0 to 1")
    return array


def binary(name: str, values: Labels) -> np.ndarray:
    """Returns bool [rows].

    Raises:
        UserError: there is none, or one is neither 0 nor 1.
    """
    array = np.asarray(values)
    _check_rows(name, array)
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind in "iuf":
        unknown = array[(array != 0) & (array != 1)].tolist()
    else:
        unknown = [value for value in array.tolist() if value not in (0, 1)]
    if unknown:
        raise UserError(f"{name} hold {str(unknown[0])!r}; allowed: 0 and 1")
    return array.astype(np.bool_)


def classes(name: str, values: Labels) -> np.ndarray:
    """Returns strings or integers [rows].

    Raises:
        UserError: there is none, or one is neither a string nor an integer.
    """
    array = np.asarray(values)
    _check_rows(name, array)
    if array.dtype == object and all(isinstance(value, str) for value in array.flat):
        array = array.astype(np.str_)
    if array.dtype.kind not in "Uiub":
        raise UserError(f"{name} are of type {array.dtype}; allowed: strings, or integers")
    return array


def check_lengths(**columns: Sequence | np.ndarray) -> None:
    """Raises UserError where columns differ in their number of rows."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        counted = ", ".join(f"{name.replace('_', ' ')} {length}" for name, length in lengths.items())
        raise UserError(f"columns differ in their number of rows ({counted}); allowed: one of each a row")


def check_positives(labels: np.ndarray, negatives: bool = False) -> None:
    """Raises UserError where no label of bool [rows] is positive, or with `negatives` where all are."""
    positives = int(labels.sum())
    if not positives or (negatives and positives == len(labels)):
        needed = "one positive and one negative" if negatives else "one positive"
        raise UserError(f"{positives} of {len(labels)} labels are positive; needed: at least {needed}")


def _check_rows(name: str, array: np.ndarray) -> None:
    if array.ndim != 1 or not len(array):
        raise UserError(f"{name} are of shape {list(array.shape)}; allowed: [rows], at least one")
