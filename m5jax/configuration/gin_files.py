"""Gin files and bindings: found, checked name by name with file and line, then handed to gin.

A gin file only binds parameters: `import` statements (and with them gin's dynamic registration, which could call any
Python function) are refused, so that a config from elsewhere executes nothing.
"""

import dataclasses
import re
import tokenize
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gin
from gin import config_parser

import m5jax
from m5jax.configuration.registry import CONFIGURABLES
from m5jax.errors import UserError, unknown_name

# Holds gin_configs/; an installed m5jax reads files relative to the working directory alone.
REPOSITORY = Path(m5jax.__file__).resolve().parent.parent
COMMAND_LINE = "--gin"
_INCLUDE = re.compile(r"""^include[ \t]+(?P<quote>['"])(?P<name>[^'"]+)(?P=quote)[ \t]*(?:#.*)?$""", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Binding:
    """One `NAME.argument = value` (or a macro, where `argument` is empty) and where it stands."""

    name: str
    argument: str
    value: Any
    where: str

    @property
    def key(self) -> str:
        return f"{self.name}.{self.argument}" if self.argument else self.name


@dataclasses.dataclass(frozen=True)
class _Reference:
    """A `%MACRO` or `@Configurable()` inside a value, kept for checking."""

    text: str

    def __repr__(self) -> str:
        return self.text

    @property
    def configurable(self) -> str:
        return self.text.strip("@()").rpartition("/")[2]


class _Delegate(config_parser.ParserDelegate):
    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> _Reference:
        return _Reference(f"@{scoped_configurable_name}{'()' if evaluate else ''}")

    def macro(self, macro_name: str) -> _Reference:
        return _Reference(f"%{macro_name}")


def parse_gin(files: Sequence[str], bindings: Sequence[str] = (), root: str = "Run") -> None:
    """Checks and parses gin files, then `bindings` on top (`NAME.argument=value` or `MACRO=value`).

    `root` names the configurable that will be called: a binding of the command line must reach it.

    Raises:
      UserError: a file, configurable, argument or macro is unknown, a value does not parse, or a file imports code.
    """
    found = [find_gin_file(name) for name in files]
    in_files = [binding for path in found for binding in read_bindings(path)]
    on_command_line = [
        binding for text in bindings for binding in parse_bindings(_spaced(text), f"{COMMAND_LINE}.{text}")
    ]
    macros = {binding.name: binding.value for binding in in_files if not binding.argument}
    # A macro that files use and none binds is for the command line to bind.
    used = {name for binding in in_files for name in _macro_names(binding.value)}
    for binding in on_command_line:
        if not binding.argument and binding.name not in macros.keys() | used:
            raise _at(binding.where, unknown_name("gin macro", binding.name, (*macros, *used, *CONFIGURABLES)))
        if not binding.argument:
            macros[binding.name] = binding.value
    for binding in (*in_files, *on_command_line):
        _check(binding, macros)
    _check_effect(on_command_line, (*in_files, *on_command_line), root)
    gin.clear_config()
    # Gin would look for included files among Python packages, where a folder of the same name is none.
    gin.parse_config("\n".join([*map(_whole_text, found), *map(_spaced, bindings)]))
    gin.finalize()


def find_gin_file(name: str) -> Path:
    """Returns the path of a gin file named relative to the working directory or to the repository."""
    for candidate in (Path(name), REPOSITORY / name):
        if candidate.is_file():
            return candidate
    known = (str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("gin_configs/**/*.gin"))
    raise unknown_name("gin file", name, known)


def read_bindings(path: Path, including: tuple[Path, ...] = ()) -> list[Binding]:
    """Returns the bindings of a gin file and of all it includes, in order; `including` are the files that led to it."""
    if path in including:
        raise UserError(f"{including[-1]}: includes {path}, which includes it")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the gin file {path}: {error}") from error
    return parse_bindings(text, str(path), (*including, path))


def _whole_text(path: Path) -> str:
    """Returns the text of a gin file with the files that it includes in the place of their statements."""

    def included(statement: re.Match[str]) -> str:
        return _whole_text(find_gin_file(statement["name"]))

    return _INCLUDE.sub(included, path.read_text(encoding="utf-8"))


def _spaced(text: str) -> str:
    """Puts spaces around the first `=`, which gin's tokenizer wants before a minus sign."""
    name, equals, value = text.partition("=")
    return f"{name} = {value}" if equals else text


def parse_bindings(text: str, source: str, including: tuple[Path, ...] = ()) -> list[Binding]:
    """Returns the bindings of a gin text, in order; `source` names it in errors."""
    bindings: list[Binding] = []
    try:
        for statement in config_parser.ConfigParser(text, _Delegate()):
            where = source if source.startswith(COMMAND_LINE) else f"{source}:{statement.location.line_num}"
            if isinstance(statement, config_parser.ImportStatement):
                raise UserError(f"{where}: gin files may not import code; name task modules in TASK_MODULES instead")
            if isinstance(statement, config_parser.IncludeStatement):
                bindings += read_bindings(_included(statement.filename, where), including)
            elif isinstance(statement, config_parser.BindingStatement):
                name = "/".join(part for part in (statement.scope, statement.selector) if part)
                bindings.append(Binding(name, statement.arg_name or "", statement.value, where))
    except TypeError as error:  # a list as a key
        raise UserError(f"{source}: not valid gin: {error}") from error
    except tokenize.TokenError as error:
        raise UserError(f"{source}: not valid gin: {error.args[0]}") from error
    except SyntaxError as error:
        line = f":{error.lineno}" if error.lineno and not source.startswith(COMMAND_LINE) else ""
        raise UserError(
            f"{source}{line}: not valid gin: {str(error.msg).splitlines()[0]} in {(error.text or text).strip()!r}"
        ) from error
    return bindings


def _included(name: str, where: str) -> Path:
    try:
        return find_gin_file(name)
    except UserError as error:
        raise _at(where, error) from error


def _at(where: str, error: UserError) -> UserError:
    return UserError(f"{where}: {error}")


def _check(binding: Binding, macros: Mapping[str, Any]) -> None:
    """Raises unless the bound name, its argument, every reference in the value, and the value's type are right."""
    for macro in _macro_names(binding.value):
        if macro not in macros:
            raise _at(binding.where, unknown_name("gin macro", macro, macros))
    for reference in _references(binding.value):
        if reference.text.startswith("@") and reference.configurable not in CONFIGURABLES:
            raise _at(binding.where, unknown_name("gin name", reference.configurable, CONFIGURABLES))
    if not binding.argument:
        return
    name = binding.name.rpartition("/")[2]
    if name not in CONFIGURABLES:
        raise _at(binding.where, unknown_name("gin name", name, CONFIGURABLES))
    hints = typing.get_type_hints(CONFIGURABLES[name])
    if binding.argument not in hints:
        raise _at(binding.where, unknown_name(f"argument of {name}", binding.argument, hints))
    value = _resolved(binding, macros)
    if not _fits(value, hints[binding.argument]):
        raise UserError(f"{binding.where}: {binding.key} = {value!r}; allowed: {_type_name(hints[binding.argument])}")


def _check_effect(given: Iterable[Binding], everything: Iterable[Binding], root: str) -> None:
    """Raises UserError for a binding of the command line to a configurable that nothing refers to."""
    values = {binding.key: binding.value for binding in everything}
    referred = {root} | {reference.configurable for value in values.values() for reference in _references(value)}
    for binding in given:
        name = binding.name.rpartition("/")[2]
        if binding.argument and name not in referred:
            raise UserError(f"{binding.where} has no effect: nothing refers to @{name}()")


def resolve(binding: Binding, bindings: Iterable[Binding]) -> Any:
    """Returns the value that a binding has with the macros among others; references to configurables stay."""
    return _resolved(binding, {other.name: other.value for other in bindings if not other.argument})


def _resolved(binding: Binding, macros: Mapping[str, Any]) -> Any:
    """Returns the value a binding has once macros are followed; raises UserError where they go in a circle."""
    value, followed = binding.value, set()
    while isinstance(value, _Reference) and value.text.startswith("%"):
        if value.text in followed:
            raise UserError(f"{binding.where}: the macro {value.text} is bound to itself")
        followed.add(value.text)
        (macro,) = _macro_names(value)
        if macro not in macros:
            raise _at(binding.where, unknown_name("gin macro", macro, macros))
        value = macros[macro]
    return value


def _fits(value: Any, expected: Any) -> bool:
    """Whether a literal, or a reference to a configurable, is of the annotated type."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, option) for option in arguments)
    if isinstance(value, _Reference):
        return value.text.endswith("()") and expected is CONFIGURABLES[value.configurable]
    if expected is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if expected is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is tuple:
        return isinstance(value, (tuple, list)) and all(_fits(item, arguments[0]) for item in value)
    if origin in (dict, Mapping):
        pairs = value.items() if isinstance(value, dict) else [(None, None)]
        return all(_fits(name, arguments[0]) and _fits(item, arguments[1]) for name, item in pairs)
    return isinstance(expected, type) and isinstance(value, expected)


def _type_name(expected: Any) -> str:
    options = typing.get_args(expected)
    if typing.get_origin(expected) is tuple:
        return f"a tuple of {_type_name(options[0])}"
    if typing.get_origin(expected) in (dict, Mapping):
        return f"a mapping from {_type_name(options[0])} to {_type_name(options[1])}"
    if expected is type(None):
        return "None"
    if options:
        return " or ".join(map(_type_name, options))
    return f"@{expected.__name__}()" if expected.__name__ in CONFIGURABLES else expected.__name__


def _macro_names(value: Any) -> list[str]:
    return [item.text[1:] for item in _references(value) if item.text.startswith("%")]


def _references(value: Any) -> Iterable[_Reference]:
    if isinstance(value, _Reference):
        yield value
    elif isinstance(value, dict):
        for item in (*value.keys(), *value.values()):
            yield from _references(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _references(item)
