"""What a fine-tuning ended with, as its run directory says. Needs none of what trains or loads it."""

import dataclasses
import json
from pathlib import Path

from m5jax.errors import UserError

RESULT = "fine_tuned/result.json"


@dataclasses.dataclass(frozen=True)
class Result:
    """What a fine-tuning ended with.

    Attributes:
      step: of the best checkpoint.
      metrics: on the validation data, of that checkpoint.
      threshold: of pairs' scores, the best on the validation data; None where the task has none.
    """

    step: int
    metrics: dict[str, float]
    threshold: float | None = None


def read_result(run_dir: Path) -> Result | None:
    """Returns what a fine-tuning ended with; None where it has not ended. Raises UserError for a damaged file."""
    path = run_dir / RESULT
    if not path.exists():
        return None
    try:
        return Result(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} holds no result of a fine-tuning ({error})") from error
