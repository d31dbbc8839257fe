"""Which checkpoints of a run stay."""

import dataclasses
import math
from collections.abc import Mapping

from orbax.checkpoint.checkpoint_managers import preservation_policy

from m5jax.errors import UserError, unknown_name


@dataclasses.dataclass(frozen=True)
class KeepPolicy:
    """Which checkpoints stay: the newest `last`, each whose step divides by `every` (0: none besides), and the one with
    the best value of the metric `best` ("": none), the `largest` or the smallest; of equal ones the newest."""

    last: int = 3
    every: int = 0
    best: str = ""
    largest: bool = True

    def __post_init__(self) -> None:
        if self.last < 1 or self.every < 0:
            raise UserError(f"KeepPolicy: last = {self.last} must be 1 or more, every = {self.every} 0 or more")

    def to_orbax(self) -> preservation_policy.PreservationPolicy:
        policies: list[preservation_policy.PreservationPolicy] = [preservation_policy.LatestN(self.last)]
        if self.every:
            policies.append(preservation_policy.EveryNSteps(self.every))
        if self.best:
            of_metrics = preservation_policy.BestN(
                get_metric_fn=self.value, reverse=not self.largest, n=1, keep_checkpoints_without_metrics=False
            )
            policies.append(of_metrics)
        return preservation_policy.AnyPreservationPolicy(policies)

    def value(self, metrics: Mapping[str, float]) -> float:
        """Returns the metric that decides, of those of a checkpoint, the worst for one that is no number.

        Raises:
          UserError: it is none of them.
        """
        if self.best not in metrics:
            raise unknown_name("KeepPolicy.best", self.best, metrics)
        value = metrics[self.best]
        if math.isnan(value):
            return -math.inf if self.largest else math.inf
        return value
