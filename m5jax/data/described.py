"""Preprocessors as text that tells one definition of a task from another."""

import dataclasses
import functools
from typing import Any


def described(step: Any) -> str:
    """Returns the name of a preprocessor with its settings; the records it reads are not among them.

    A function stands for its name: one that is changed under the same name is not told apart.
    """
    if isinstance(step, functools.partial):
        settings = [f"{name}={described(value)}" for name, value in step.keywords.items() if name != "corpus"]
        return f"{described(step.func)}({', '.join(settings)})"
    if dataclasses.is_dataclass(step) or isinstance(step, (bool, int, float, str)):
        return repr(step)
    return getattr(step, "__name__", type(step).__name__)
