"""Preprocessors as text that tells one definition of a task from another."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import seqio


def described(step: Any) -> str:
    """Returns the name of a preprocessor with its settings; the records it reads are not among them.

    A function stands for its name: one that is changed under the same name is not told apart.
    """
    if isinstance(step, functools.partial):
        settings = [described(value) for value in step.args]
        settings += [f"{name}={described(value)}" for name, value in step.keywords.items() if name != "corpus"]
        return f"{described(step.func)}({', '.join(settings)})"
    if dataclasses.is_dataclass(step):
        settings = [f"{field.name}={described(getattr(step, field.name))}" for field in dataclasses.fields(step)]
        return f"{type(step).__name__}({', '.join(text for text in settings if not text.startswith('corpus='))})"
    if isinstance(step, (set, frozenset)):
        step = sorted(step, key=repr)
    if isinstance(step, (tuple, list)):
        return f"({''.join(f'{described(item)}, ' for item in step)})"
    if isinstance(step, (bool, int, float, str, Mapping)):
        return repr(step)
    return getattr(step, "__name__", type(step).__name__)


def describe_steps(steps: Sequence[Callable[..., Any]]) -> list[str]:
    """Returns each preprocessor described; where a cache stands between them says nothing of what they make."""
    return [described(step) for step in steps if not isinstance(step, seqio.CacheDatasetPlaceholder)]
