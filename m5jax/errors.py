"""Errors that a user can cause and mend: one line that says what is wrong, where, and what is allowed."""

import difflib
import math
from collections.abc import Iterable

_MOST_NAMES = 20


class UserError(ValueError):
    """A wrong flag, name, file, shape or configuration. The command line prints its message and exits with status 2."""


def unknown_name(kind: str, name: str, allowed: Iterable[str]) -> UserError:
    """Returns the error for a mistyped `name`, with the near matches, or all that is allowed where none is near."""
    names = sorted(set(allowed))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif names:
        shown, left = names[:_MOST_NAMES], len(names) - _MOST_NAMES
        hint = f"allowed: {', '.join(shown)}{f' and {left} more' if left > 0 else ''}"
    else:
        hint = f"no {kind} is known here"
    return UserError(f"unknown {kind} {name!r}; {hint}")


def wrong_field(settings: object, name: str, allowed: str) -> UserError:
    """Returns the error for a field of settings that does not have an allowed value."""
    return UserError(f"{type(settings).__name__}.{name} = {getattr(settings, name)}; allowed: {allowed}")


def check_least(settings: object, **least: float) -> None:
    """Raises UserError where a field is below the least value it may have; None is let pass."""
    for name, lowest in least.items():
        value = getattr(settings, name)
        if value is not None and not value >= lowest:
            raise wrong_field(settings, name, f"{lowest} and above")


def check_above_zero(settings: object, *names: str) -> None:
    """Raises UserError where a field is not a finite number above 0."""
    for name in names:
        if not 0 < getattr(settings, name) < math.inf:
            raise wrong_field(settings, name, "above 0")


def check_below_one(settings: object, *names: str) -> None:
    """Raises UserError where a field is not from 0 to below 1, as a rate of dropout is."""
    for name in names:
        if not 0 <= getattr(settings, name) < 1:
            raise wrong_field(settings, name, "0 up to, not including, 1")


def first_line(error: Exception) -> str:
    """Returns the type and the first line of an error of a library, shortened."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:200]
