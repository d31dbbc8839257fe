"""What a tuned parameter may be: numbers between two, or one of several values.

Written, on the command line and in gin, beside the parameter's name in gin files (`Cosine.peak`, `BATCH_SIZE`):

    1e-4..1e-2 log     a number; with `log` each order of magnitude is as likely as another
    1..6 int           an integer; `int log` as well
    16|32|64           one of these, each written as in gin ('gelu'|'silu')
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from m5jax.errors import UserError

if TYPE_CHECKING:
    from optuna import Trial

ALLOWED = "allowed: LOW..HIGH, LOW..HIGH log, LOW..HIGH int, LOW..HIGH int log, A|B|C"
WORDS = ("int", "log")


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A number from `low` to `high`, both allowed; see the module for `log`."""

    name: str
    low: float
    high: float
    integer: bool = False
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise UserError(f"the range {self} is empty; allowed: LOW below HIGH")
        if self.log and self.low <= 0:
            raise UserError(f"the range {self} begins at {self.low:g}; allowed with log: LOW above 0")

    def __str__(self) -> str:
        words = "".join(f" {word}" for word, said in zip(WORDS, (self.integer, self.log), strict=True) if said)
        return f"{self.name}={self.low!r}..{self.high!r}{words}"

    @property
    def examples(self) -> tuple[str, ...]:
        """Values to try whether the configuration takes them, as gin writes them."""
        return repr(self.low), repr(self.high)

    def suggest(self, trial: "Trial") -> float:
        if self.integer:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)


@dataclasses.dataclass(frozen=True)
class Choices:
    """One of several values, each as gin writes it."""

    name: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if "" in self.values or len(set(self.values)) < len(self.values):
            raise UserError(f"the choices {self} are not all different, or one is missing; allowed: A|B|C")

    def __str__(self) -> str:
        return f"{self.name}={'|'.join(self.values)}"

    @property
    def examples(self) -> tuple[str, ...]:
        return self.values

    def suggest(self, trial: "Trial") -> str:
        return trial.suggest_categorical(self.name, self.values)


Range = Numbers | Choices


def parse_range(name: str, text: str) -> Range:
    """Returns the range that a text describes; raises UserError where it describes none."""
    if "|" in text:
        return Choices(name, tuple(value.strip() for value in text.split("|")))
    low, dots, rest = text.partition("..")
    high, *words = rest.split() or [""]
    if not dots or set(words) - set(WORDS) or len(set(words)) < len(words):
        raise UserError(f"{name}={text} is no range; {ALLOWED}")
    integer = "int" in words
    return Numbers(name, _number(name, low, integer), _number(name, high, integer), integer, "log" in words)


def gin_text(value: float | str) -> str:
    """Returns a suggested value as gin writes it; those of choices are so already."""
    return value if isinstance(value, str) else repr(value)


def binding_flags(values: Mapping[str, float | str]) -> list[str]:
    """Returns the flags of a command that bind suggested values."""
    return [f"--gin.{name}={gin_text(value)}" for name, value in values.items()]


def check_ranges(ranges: Sequence[Range], describe: Callable[[Mapping[str, str]], Mapping[str, str]]) -> None:
    """Raises UserError unless the configuration takes the examples of each range, and they make a difference.

    Args:
      ranges: of different names.
      describe: returns the configuration, as texts by name, in which parameters have these values; raises UserError.
    """
    first = {each.name: each.examples[0] for each in ranges}
    for each in ranges:
        described = []
        for value in each.examples:
            try:
                described.append(describe({**first, each.name: value}))
            except UserError as error:
                # What has nothing to do with the range is wrong in the command.
                raise UserError(f"--range {each}: {error}" if each.name in str(error) else str(error)) from error
        if all(one == described[0] for one in described):
            raise UserError(f"--range {each} has no effect: what is configured is the same with each of its values")


def _number(name: str, text: str, integer: bool) -> float:
    try:
        value = int(text) if integer else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        kind = "integer" if integer else "number"
        raise UserError(f"{text.strip()!r} in the range of {name} is no {kind}; {ALLOWED}")
    return value
