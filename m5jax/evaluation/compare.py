"""Two evaluations on the same data: by how much their metrics differ, and whether by chance."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from m5jax.errors import UserError
from m5jax.evaluation.differences import Measured, Resampling, families_of, measure
from m5jax.evaluation.estimates import Difference
from m5jax.evaluation.matching import Answers, Matched, match
from m5jax.evaluation.metrics.masked import pooled_attributes
from m5jax.evaluation.predictions import read_predictions
from m5jax.evaluation.reports import find_evaluation

ALL_GROUPS = "(all)"


@dataclasses.dataclass(frozen=True)
class MetricComparison:
    """A metric of one group, of two systems.

    Args:
        group: its name, or `ALL_GROUPS`.
        metric: its name.
        first, second: the systems' values.
        difference: what the second has more than the first, with interval and p-value.
        corrected_p_value: p-value after Holm's correction over all metrics of the comparison; None where there is none.
    """

    group: str
    metric: str
    first: float
    second: float
    difference: Difference
    corrected_p_value: float | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two systems on the units that both answered.

    Args:
        first, second: the evaluations, as they were named.
        kind: of their predictions.
        units: that both answered.
        only_first, only_second: how many units one answered and the other did not.
        samples, seed: of the bootstrap and the permutations.
        metrics: of each group, and of all units where there are several groups.
        notes: what was left out, and why.
    """

    first: str
    second: str
    kind: str
    units: int
    only_first: int
    only_second: int
    samples: int
    seed: int
    metrics: tuple[MetricComparison, ...]
    notes: tuple[str, ...]

    @property
    def tests(self) -> int:
        """How many p-values there are, over which they are corrected."""
        return sum(metric.corrected_p_value is not None for metric in self.metrics)


def compare(first: Path, second: Path, evaluation: str | None = None, samples: int = 1000, seed: int = 0) -> Comparison:
    """Returns how the second of two evaluations differs from the first.

    Args:
        first, second: folders of evaluations, or run directories, see `find_evaluation`.
        evaluation: its name in run directories that hold several.
        samples, seed: see `m5jax.evaluation.estimates.compare`.

    Raises:
        UserError: there is no evaluation, the two are not of the same kind and data, no metric is defined for both, or
            the seed is negative.
    """
    if seed < 0:
        raise UserError(f"the seed is {seed}; allowed: 0 and above")
    folders = [find_evaluation(path, evaluation) for path in (first, second)]
    one, other = map(read_predictions, folders)
    try:
        matched = match(one, other)
    except UserError as error:
        raise UserError(f"{folders[0]} and {folders[1]}: {error}") from error
    families = families_of(one.kind, matched.first, matched.second)
    measured: dict[str, dict[str, Measured]] = {}
    notes: list[str] = []
    groups = list(_groups(one.kind, matched))
    for group, here, there in tqdm(groups, desc="comparing", unit=" groups", disable=None):
        measured[group], left_out = measure(families, one.settings, here, there, Resampling(samples, seed))
        notes += [f"{group}: left out: {reason}" for reason in left_out]
        if one.kind != "masked":  # where each metric has units of its own
            notes += _partial(group, measured[group], here.units[-1] + 1)
    rows = _corrected(measured)
    if not rows:
        reasons = " ".join("; ".join(notes).split())  # names of groups may hold anything
        raise UserError(f"{folders[0]} and {folders[1]}: no metric is defined ({reasons})")
    notes += _too_few_samples(rows, samples)
    return Comparison(
        first=str(first),
        second=str(second),
        kind=one.kind,
        units=len(matched.groups),
        only_first=matched.only_first,
        only_second=matched.only_second,
        samples=samples,
        seed=seed,
        metrics=tuple(rows),
        notes=tuple(notes),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values that may be compared with a bound on the chance of any false discovery among them.

    Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    corrected = np.empty(len(p_values))
    highest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected.tolist()


def _groups(kind: str, matched: Matched) -> Iterator[tuple[str, Answers, Answers]]:
    """Yields each group, all of them where there are several, and of what is masked the attributes of each group."""
    for group, places in _places(matched.groups).items():
        sides = matched.first.of(places), matched.second.of(places)
        yield group, *sides
        if kind == "masked" and group != ALL_GROUPS:
            yield from _attributes(group, *sides)


def _attributes(group: str, first: Answers, second: Answers) -> Iterator[tuple[str, Answers, Answers]]:
    values = [answers.where(answers.column("hidden") == "value") for answers in (first, second)]
    names = [pooled_attributes(list(answers.column("attribute"))) for answers in values]
    for name in np.unique(names[0]):
        chosen = [answers.where(own == name) for answers, own in zip(values, names, strict=True)]
        yield f"{group}: {name}", chosen[0], chosen[1]


def _places(groups: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns the units of each group, and of all where there are several."""
    places: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group, []).append(place)
    chosen = places if len(places) == 1 else {ALL_GROUPS: list(range(len(groups))), **places}
    return {group: np.array(units, np.int64) for group, units in chosen.items()}


def _corrected(measured: Mapping[str, Mapping[str, Measured]]) -> list[MetricComparison]:
    rows = [(group, name, value) for group, of_group in measured.items() for name, value in of_group.items()]
    tested = [value.difference.p_value for _, _, value in rows if value.difference.p_value is not None]
    corrected = iter(holm(tested))
    return [
        MetricComparison(group, name, *value, None if value.difference.p_value is None else next(corrected))
        for group, name, value in rows
    ]


def _partial(group: str, measured: Mapping[str, Measured], units: int) -> list[str]:
    counts = {value.difference.count for value in measured.values()} - {units}
    return [f"{group}: metrics are of {count:,} of {units:,} units; the others have no value" for count in counts]


def _too_few_samples(rows: Sequence[MetricComparison], samples: int) -> list[str]:
    tests = sum(row.corrected_p_value is not None for row in rows)
    least = tests / (samples + 1)
    if least <= 0.05:
        return []
    lowest = f"{min(least, 1.0):.2f}"
    return [f"{samples} samples give no corrected p-value below {lowest} for {tests} metrics; take more samples"]
