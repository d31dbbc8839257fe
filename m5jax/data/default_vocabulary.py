"""The vocabulary of a mixture for which a run names none: task modules may register one beside their tasks."""

from collections.abc import Callable
from pathlib import Path

from m5jax.errors import UserError

_BY_NAME: dict[str, Callable[[], Path]] = {}


def register_default_vocabulary(name: str, make: Callable[[], Path]) -> None:
    """Has `default_vocabulary(name)` return what `make` returns: the path of a vocabulary, made at the first call."""
    _BY_NAME[name] = make


def default_vocabulary(name: str) -> Path:
    """Returns the vocabulary registered for a task or mixture; raises UserError where there is none."""
    if name not in _BY_NAME:
        raise UserError(
            f"{name} has no vocabulary of its own; name one that m5jax vocabulary train made "
            "(VOCABULARY in gin, --vocabulary of m5jax tasks show)"
        )
    return _BY_NAME[name]()
