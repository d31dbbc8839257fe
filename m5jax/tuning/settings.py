"""How a study is made, from a gin file and flags."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from m5jax.configuration.settings_file import is_integer, is_text, is_texts, read_settings
from m5jax.errors import UserError, check_least, unknown_name
from m5jax.tuning.ranges import Range, parse_range

DIRECTIONS = ("minimize", "maximize")


@dataclasses.dataclass(frozen=True)
class Tuning:
    """A study.

    Attributes:
      ranges: what each parameter may be, by its name in gin files; see `m5jax.tuning.ranges`.
      trials: how many there will be, failed and pruned ones among them.
      metric: a name of metrics.jsonl; a trial's value is that of the checkpoint it keeps, the last or the best.
      direction: whether less or more of it is better.
      seed: of the choice of values.
      startup_trials: complete trials before any is pruned.
      warmup_steps: training steps of a trial before it can be pruned.
      failures: so many failed trials in a row end the work.
    """

    ranges: Mapping[str, str]
    trials: int
    metric: str = "evaluation/en/loss"
    direction: str = "minimize"
    seed: int = 0
    startup_trials: int = 5
    warmup_steps: int = 0
    failures: int = 3

    def __post_init__(self) -> None:
        if not self.ranges:
            raise UserError('nothing to tune; add --range "NAME=LOW..HIGH", or bind Tuning.ranges in a --tune_file')
        check_least(self, trials=1, seed=0, startup_trials=0, warmup_steps=0, failures=1)
        if self.direction not in DIRECTIONS:
            raise unknown_name("direction", self.direction, DIRECTIONS)

    @property
    def parsed(self) -> tuple[Range, ...]:
        return tuple(parse_range(name, text) for name, text in self.ranges.items())

    @property
    def maximizes(self) -> bool:
        return self.direction == "maximize"


def make_tuning(path: Path | None, flags: Mapping[str, Any]) -> Tuning:
    """Returns the study that a gin file of `Tuning.NAME = value` describes, with flags on top.

    Args:
      path: of the file; None: there is none.
      flags: values by name, None where a flag was not given; `ranges` are added to those of the file.

    Raises:
      UserError: a name or value in the file is wrong, or what there must be is missing.
    """
    values = read_tune_file(path) if path is not None else {}
    ranges = {**values.get("ranges", {}), **flags.get("ranges", {})}
    values |= {name: value for name, value in flags.items() if value is not None} | {"ranges": ranges}
    if "trials" not in values:
        raise UserError(
            "it is not said how many trials to make; add --trials=N, or bind Tuning.trials in a --tune_file"
        )
    return Tuning(**values)


def read_tune_file(path: Path) -> dict[str, Any]:
    """Returns the values that a gin file binds of `Tuning`; raises UserError where it binds anything else."""
    kinds = {field.name: field.type for field in dataclasses.fields(Tuning)}
    checks: dict[str, tuple[Callable[[Any], bool], str]] = {
        name: (is_integer, "an integer") if kind is int else (is_text, "a text") for name, kind in kinds.items()
    }
    checks["ranges"] = (_is_ranges, "{'NAME': 'RANGE'}")
    return read_settings(path, "Tuning", checks, "what all trials have is for after --")


def _is_ranges(value: Any) -> bool:
    return isinstance(value, dict) and is_texts([*value, *value.values()])
