"""Scaling laws: the loss as a function of parameters and tokens, fitted to small runs and extrapolated to large ones.

    L(N, D) = E + A / N^alpha + B / D^beta        (Hoffmann et al. 2022, arXiv 2203.15556, equation 2)

of a model of N parameters that has seen D tokens, which takes about 6 N D FLOPs to train (Kaplan et al. 2020, arXiv
2001.08361, section 2.1). Losses are in nats.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from m5jax.errors import UserError

FLOPS = 6.0  # of a parameter and a token: 2 forward, 4 backward
_DELTA = 1e-3  # of the Huber loss
_LEAST_RUNS = 6  # for five unknowns
_EXPONENTS = np.geomspace(0.05, 2.0, 16)
_STARTS = 8
_LEAST_USED = 0.9  # of the draws; fewer give no interval

Runs = Float[np.ndarray, " runs"]


@dataclasses.dataclass(frozen=True)
class Allocation:
    """How a budget is best spent.

    Attributes:
      flops: the budget.
      parameters: of the model.
      tokens: that it sees.
      loss: that it reaches, in nats.
    """

    flops: float
    parameters: float
    tokens: float
    loss: float


@dataclasses.dataclass(frozen=True)
class ScalingLaw:
    """The constants of the module's equation.

    Attributes:
      irreducible: E, in nats.
      parameter_scale, parameter_exponent: A and alpha.
      token_scale, token_exponent: B and beta.
    """

    irreducible: float
    parameter_scale: float
    parameter_exponent: float
    token_scale: float
    token_exponent: float

    def loss(self, parameters: float | Runs, tokens: float | Runs) -> float | Runs:
        """Returns the loss, in nats."""
        of_size = self.parameter_scale / parameters**self.parameter_exponent
        return self.irreducible + of_size + self.token_scale / tokens**self.token_exponent

    def best_for(self, flops: float) -> Allocation:
        """Returns the size and tokens of the least loss for a budget (arXiv 2203.15556, equation 4)."""
        alpha, beta = self.parameter_exponent, self.token_exponent
        balance = (alpha * self.parameter_scale / (beta * self.token_scale)) ** (1.0 / (alpha + beta))
        parameters = balance * (flops / FLOPS) ** (beta / (alpha + beta))
        tokens = flops / (FLOPS * parameters)
        return Allocation(flops, parameters, tokens, float(self.loss(parameters, tokens)))


@dataclasses.dataclass(frozen=True)
class ScalingFit:
    """A law, and how far other samples of the runs would have moved it.

    Attributes:
      law: fitted to all runs.
      resampled: fitted to runs drawn with replacement.
    """

    law: ScalingLaw
    resampled: tuple[ScalingLaw, ...]

    def interval(self, of: Callable[[ScalingLaw], float]) -> tuple[float, float]:
        """Returns the 95% percentile bootstrap interval of what a function makes of the law, such as
        `lambda law: law.best_for(1e21).parameters`."""
        low, high = np.quantile([of(law) for law in self.resampled], [0.025, 0.975])
        return float(low), float(high)


def fit_with_intervals(parameters: Runs, tokens: Runs, losses: Runs, samples: int = 200, seed: int = 0) -> ScalingFit:
    """Returns the law of runs, and of as many runs drawn with replacement, `samples` times.

    Args:
      parameters, tokens, losses: of each run; see `fit`.
      samples: for the intervals.
      seed: of the draws.

    Raises:
      UserError: as `fit`; or the runs are so few that most draws of them have no law.
    """
    runs = _Runs.of(parameters, tokens, losses)
    best = _search(runs, runs.starts())
    generator = np.random.default_rng(seed)
    drawn = (runs.of_rows(generator.integers(0, len(losses), len(losses))) for _ in range(samples))
    # The law of all runs is near those of draws of them: no grid is needed.
    resampled = tuple(own.law(_search(own, [best])) for own in drawn if own.are_enough)
    if len(resampled) < _LEAST_USED * samples:
        raise UserError(
            f"{len(losses)} runs are too few for intervals: {samples - len(resampled)} of {samples} draws of them have "
            "no law; make more runs"
        )
    return ScalingFit(runs.law(best), resampled)


def fit(parameters: Runs, tokens: Runs, losses: Runs) -> ScalingLaw:
    """Returns the law of the least Huber loss between logarithms of predicted and measured losses, as in arXiv
    2203.15556, section 3.3.

    For given exponents the law is linear in E, A and B: the fit begins at the best of a grid of exponents, instead of
    at a grid of all five.

    Args:
      parameters: of each run's model, above 0; those of embeddings are commonly left out.
      tokens: that each has seen, above 0.
      losses: at its end, in nats, above 0.

    Raises:
      UserError: there are fewer than 6 runs, fewer than 3 sizes or 3 numbers of tokens, or a figure is not above 0.
    """
    runs = _Runs.of(parameters, tokens, losses)
    return runs.law(_search(runs, runs.starts()))


@dataclasses.dataclass(frozen=True)
class _Runs:
    """Logarithms of the figures of runs; sizes and tokens in units of geometric means, so that A and B are of the size
    of the losses."""

    sizes: Runs
    tokens: Runs
    losses: Runs
    units: tuple[float, float]

    @classmethod
    def of(cls, parameters: Runs, tokens: Runs, losses: Runs) -> "_Runs":
        _check(parameters, tokens, losses)
        sizes, seen = np.log(np.asarray(parameters, np.float64)), np.log(np.asarray(tokens, np.float64))
        runs = cls(sizes - sizes.mean(), seen - seen.mean(), np.log(losses), (sizes.mean(), seen.mean()))
        if not runs.are_enough:
            raise UserError(
                f"{len(losses)} runs of {len(set(sizes))} sizes and {len(set(seen))} numbers of tokens do not fix "
                f"a scaling law; needed: {_LEAST_RUNS} runs, 3 sizes and 3 numbers of tokens"
            )
        return runs

    def of_rows(self, rows: np.ndarray) -> "_Runs":
        return _Runs(self.sizes[rows], self.tokens[rows], self.losses[rows], self.units)

    @property
    def are_enough(self) -> bool:
        different = min(len(np.unique(values)) for values in (self.sizes, self.tokens))
        return len(self.losses) >= _LEAST_RUNS and different >= 3

    def starts(self) -> list[np.ndarray]:
        """Returns the best of a grid of exponents, each with the E, A and B of least squares."""
        grid = [self.linear(alpha, beta) for alpha in _EXPONENTS for beta in _EXPONENTS]
        return sorted(grid, key=lambda logs: self.objective(logs)[0])[:_STARTS]

    def linear(self, alpha: float, beta: float) -> np.ndarray:
        """Returns the logarithms of E, A, B, alpha and beta with the least relative squares, for given exponents."""
        from scipy.optimize import nnls

        losses = np.exp(self.losses)
        columns = np.stack([np.ones_like(losses), np.exp(-alpha * self.sizes), np.exp(-beta * self.tokens)], axis=1)
        scales, _ = nnls(columns / losses[:, None], np.ones_like(losses))
        smallest = 1e-4 * losses.min()  # where a part is not seen in the data, it is small but can grow
        return np.log([*np.maximum(scales, smallest), alpha, beta])

    def objective(self, logs: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the sum of Huber losses, and its gradient, of logarithms as `linear` returns them."""
        alpha, beta = np.exp(logs[3:])
        of_size, of_tokens = -alpha * self.sizes, -beta * self.tokens
        terms = np.stack([np.full_like(of_size, logs[0]), logs[1] + of_size, logs[2] + of_tokens])
        predicted = np.logaddexp.reduce(terms)
        errors = predicted - self.losses
        # In units of delta squared: the losses themselves are so small that they would end the search early.
        steps = errors / _DELTA
        huber = np.where(np.abs(steps) > 1, np.abs(steps) - 0.5, steps**2 / 2)
        shares = np.exp(terms - predicted)
        slopes = np.stack([*shares, shares[1] * of_size, shares[2] * of_tokens])
        return float(huber.sum()), slopes @ np.clip(steps, -1, 1) / _DELTA

    def law(self, logs: np.ndarray) -> ScalingLaw:
        alpha, beta = np.exp(logs[3:])
        scales = np.exp(logs[1:3] + np.array([alpha, beta]) * self.units)
        return ScalingLaw(math.exp(logs[0]), float(scales[0]), float(alpha), float(scales[1]), float(beta))


def _search(runs: _Runs, starts: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the logarithms of the least objective that is found from any start."""
    from scipy.optimize import minimize

    bounds = [(None, None)] * 3 + [(math.log(1e-2), math.log(5.0))] * 2
    settings = {"jac": True, "method": "L-BFGS-B", "bounds": bounds, "options": {"maxiter": 2000}}
    ends = [minimize(runs.objective, start, **settings) for start in starts]
    return min(ends, key=lambda end: end.fun).x


def _check(parameters: Runs, tokens: Runs, losses: Runs) -> None:
    if len({len(parameters), len(tokens), len(losses)}) > 1:
        raise UserError(
            f"{len(parameters)} sizes, {len(tokens)} numbers of tokens and {len(losses)} losses; allowed: one of each "
            "a run"
        )
    for name, values in (("parameters", parameters), ("tokens", tokens), ("loss", losses)):
        values = np.asarray(values, np.float64)
        if len(wrong := values[~(np.isfinite(values) & (values > 0))]):
            raise UserError(f"{name} of a run: {wrong[0]}; allowed: above 0")
