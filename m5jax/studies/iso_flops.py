"""Iso-FLOP curves: of runs with the same budget, which size of model reaches the least loss.

Each curve is a parabola in the logarithm of the size (Hoffmann et al. 2022, arXiv 2203.15556, section 3.2).
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from m5jax.errors import UserError
from m5jax.studies.scaling import FLOPS, Allocation, Runs


@dataclasses.dataclass(frozen=True)
class IsoFlopCurve:
    """Runs of about one budget.

    Attributes:
      flops: the budget, the geometric mean of the runs'.
      rows: of the runs, by size.
      parabola: of the loss in the natural logarithm of the parameters, highest power first.
    """

    flops: float
    rows: tuple[int, ...]
    parabola: tuple[float, float, float]

    def loss(self, parameters: float | Runs) -> float | Runs:
        """Returns the loss of models of so many parameters, in nats."""
        loss: float | Runs = np.polyval(self.parabola, np.log(parameters))
        return loss

    @property
    def best(self) -> Allocation | None:
        """The size of the least loss; None where the parabola opens downwards: the sizes lie too close together."""
        if self.parabola[0] <= 0:
            return None
        parameters = math.exp(-self.parabola[1] / (2 * self.parabola[0]))
        tokens = self.flops / (FLOPS * parameters)
        return Allocation(self.flops, parameters, tokens, float(self.loss(parameters)))


def iso_flop_curves(parameters: Runs, tokens: Runs, losses: Runs, tolerance: float = 0.1) -> list[IsoFlopCurve]:
    """Returns a curve for each budget with three sizes of model or more, the smallest budget first.

    Args:
      parameters, tokens, losses: of each run, as for `m5jax.studies.scaling.fit`.
      tolerance: by which share budgets of one curve may differ from the smallest of them.

    Raises:
      UserError: no budget has three sizes.
    """
    flops = FLOPS * np.asarray(parameters, np.float64) * np.asarray(tokens, np.float64)
    curves = []
    for rows in _alike(flops, tolerance):
        own = rows[np.argsort(np.asarray(parameters)[rows], kind="stable")]
        sizes = np.log(np.asarray(parameters, np.float64)[own])
        if len(np.unique(sizes)) >= 3:
            a, b, c = np.polyfit(sizes, np.asarray(losses, np.float64)[own], 2)
            budget = math.exp(np.log(flops[own]).mean())
            curves.append(IsoFlopCurve(budget, tuple(own.tolist()), (float(a), float(b), float(c))))
    if not curves:
        raise UserError(
            f"no three of {len(flops)} runs have different sizes and the same budget, to {tolerance:.0%}; needed: runs "
            "of several sizes for each budget"
        )
    return curves


def _alike(flops: Runs, tolerance: float) -> Iterator[np.ndarray]:
    """Yields the rows of runs of like budgets."""
    order = np.argsort(flops, kind="stable")
    begun = 0
    for place in range(1, len(order) + 1):
        if place == len(order) or flops[order[place]] > (1 + tolerance) * flops[order[begun]]:
            yield order[begun:place]
            begun = place
