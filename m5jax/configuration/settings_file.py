"""Gin files that describe work on many runs, a tuning or a study, and not a run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from m5jax.errors import UserError, unknown_name

# Whether a value is allowed, and what is.
Checks = Mapping[str, tuple[Callable[[Any], bool], str]]


def read_settings(path: Path, name: str, checks: Checks, elsewhere: str) -> dict[str, Any]:
    """Returns the values that a gin file binds of `name`.

    Args:
      path: of the file.
      name: what is described.
      checks: of the values, by argument.
      elsewhere: where bindings of anything else belong.

    Raises:
      UserError: the file cannot be read, or binds anything else or a value that is not allowed.
    """
    from m5jax.configuration.gin_files import find_gin_file, read_bindings

    values = {}
    for binding in read_bindings(find_gin_file(str(path))):
        argument, value = binding.argument, binding.value
        if binding.name != name:
            raise UserError(f"{binding.where}: {binding.key} is not of {name}; {elsewhere}")
        if argument not in checks:
            raise UserError(f"{binding.where}: {unknown_name(f'argument of {name}', argument, checks)}")
        is_allowed, allowed = checks[argument]
        if not is_allowed(value):
            raise UserError(f"{binding.where}: {binding.key} = {value!r}; allowed: {allowed}")
        values[argument] = value
    return values


def is_integer(value: Any) -> bool:
    return type(value) is int


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(is_text, value))
