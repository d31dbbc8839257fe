"""The choice of values, as a function of the seed, the trial's number and the trials before it."""

import hashlib
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial


class SamplerByTrial(BaseSampler):
    """Tree-structured Parzen estimators (Bergstra et al., 2011; arXiv 2304.11127) that keep no state.

    Optuna's own sampler draws from one sequence of random numbers, which begins anew in each process: a study that goes
    on after an interruption would not choose as one without. Here each trial, and each parameter that is drawn by
    itself, has a sequence of its own.
    """

    def __init__(self, seed: int):
        self._seed = seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._estimator(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._estimator(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._estimator(trial, param_name).sample_independent(study, trial, param_name, param_distribution)

    def _estimator(self, trial: FrozenTrial, name: str = "") -> TPESampler:
        digest = hashlib.sha256(f"{self._seed}/{trial.number}/{name}".encode()).digest()
        return TPESampler(seed=int.from_bytes(digest[:4], "big"))
