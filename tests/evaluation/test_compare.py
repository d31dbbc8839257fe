"""Evaluations of two runs, compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from m5jax.errors import UserError
from m5jax.evaluation.compare import ALL_GROUPS, Comparison, compare, holm
from m5jax.evaluation.predictions import Predictions, make_predictions
from m5jax.evaluation.reports import write_evaluation
from tests.evaluation.evaluation_examples import COLUMNS_OF, pair_predictions, report_of


def texts(right: np.ndarray, groups: tuple[str, ...] = ("de",), first: int = 0, fingerprint: str = "f") -> Predictions:
    """Returns predictions of texts, numbered from `first`, that are right where bool [units] says so."""
    units = np.arange(first, first + len(right))
    columns: dict[str, Any] = {
        "unit": [str(unit) for unit in units],
        "group": [groups[unit % len(groups)] for unit in units],
        "target": ["kettle"] * len(right),
        "predicted": np.where(right, "kettle", "").tolist(),
    }
    return make_predictions("text", fingerprint, columns)


def write(folder: Path, predictions: Predictions) -> Path:
    return write_evaluation(folder, report_of(kind=predictions.kind), predictions)


def compared(tmp_path: Path, first: Predictions, second: Predictions, **arguments: Any) -> Comparison:
    return compare(write(tmp_path / "a", first), write(tmp_path / "b", second), **arguments)


def test_a_run_compared_with_itself_shows_no_difference(tmp_path: Path) -> None:
    folder = write(tmp_path / "run" / "evaluations" / "pairs", pair_predictions(units=40))
    found = compare(tmp_path / "run", folder, samples=40)
    assert (found.first, found.second) == (str(tmp_path / "run"), str(folder))
    assert (found.units, found.only_first, found.only_second) == (40, 0, 0)
    assert {row.group for row in found.metrics} == {ALL_GROUPS, "de", "en"}
    assert len(found.metrics) == 3 * 8
    for row in found.metrics:
        assert row.first == row.second
        assert (row.difference.value, row.difference.low, row.difference.high) == (0, 0, 0)
        assert row.difference.p_value == row.corrected_p_value == 1


def test_a_clear_gain_is_significant_and_its_interval_is_above_zero(tmp_path: Path) -> None:
    units = np.arange(120)
    found = compared(tmp_path, texts(units % 2 == 0), texts(units % 10 != 0))
    (row,) = found.metrics
    assert (row.group, row.metric, row.first, row.second) == ("de", "exact_match", 0.5, 0.9)
    assert row.difference.value == pytest.approx(0.4)
    assert row.difference.low is not None
    assert 0.2 < row.difference.low < 0.4 < (row.difference.high or 0) < 0.6
    assert row.difference.p_value == row.corrected_p_value == 1 / 1001


def test_chance_is_not_significant(tmp_path: Path) -> None:
    units = np.arange(120)
    (row,) = compared(tmp_path, texts(units % 2 == 0), texts(units % 2 == (units < 60))).metrics
    assert row.difference.p_value is not None
    assert row.difference.p_value > 0.9


def test_the_second_against_the_first_is_the_first_against_the_second_turned_round(tmp_path: Path) -> None:
    units = np.arange(60)
    one, other = texts(units % 2 == 0, ("de", "en")), texts(units % 3 != 0, ("de", "en"))
    there = compared(tmp_path / "there", one, other, samples=200)
    back = compared(tmp_path / "back", other, one, samples=200)
    for row, turned in zip(there.metrics, back.metrics, strict=True):
        assert (row.first, row.second) == (turned.second, turned.first)
        assert row.difference.value == -turned.difference.value
        assert row.difference.p_value == turned.difference.p_value
        assert row.difference.low == pytest.approx(-(turned.difference.high or 0))


def test_units_of_one_run_only_are_counted_and_left_out(tmp_path: Path) -> None:
    right = np.ones(30, bool)
    found = compared(tmp_path, texts(right, first=0), texts(right[:15], first=10))
    assert (found.units, found.only_first, found.only_second) == (15, 15, 0)
    assert found.metrics[0].difference.count == 15


def test_p_values_are_corrected_over_all_groups_and_metrics(tmp_path: Path) -> None:
    units = np.arange(90)
    found = compared(tmp_path, texts(units % 2 == 0, ("a", "b", "c")), texts(units % 4 != 0, ("a", "b", "c")))
    assert [row.group for row in found.metrics] == [ALL_GROUPS, "a", "b", "c"]
    p_values = [row.difference.p_value or 0 for row in found.metrics]
    assert [row.corrected_p_value for row in found.metrics] == holm(p_values)


def test_another_seed_draws_others_and_the_same_draws_the_same(tmp_path: Path) -> None:
    units = np.arange(60)
    folders = [write(tmp_path / str(step), texts(units % step == 0)) for step in (2, 3)]
    one, same, other = (compare(*folders, samples=50, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one.metrics != other.metrics


def test_too_few_samples_for_the_correction_are_noted(tmp_path: Path) -> None:
    units = np.arange(60)
    folders = [write(tmp_path / str(step), texts(units % step == 0, ("a", "b"))) for step in (2, 3)]
    assert compare(*folders, samples=100).notes == ()
    (note,) = compare(*folders, samples=30).notes
    assert note == "30 samples give no corrected p-value below 0.10 for 3 metrics; take more samples"


def test_a_metric_that_is_not_defined_is_noted(tmp_path: Path) -> None:
    columns = COLUMNS_OF["pairs"] | {"unit": ["1", "2", "3"]}
    predictions = make_predictions("pairs", "f", columns)
    found = compared(tmp_path, predictions, predictions, samples=100)
    assert [row.metric for row in found.metrics if row.group == "en"] == ["f1", "precision", "recall"]
    assert any(note.startswith("en: left out: ") and "negative" in note for note in found.notes)


def test_queries_without_a_relevant_document_are_noted(tmp_path: Path) -> None:
    columns = COLUMNS_OF["search"] | {"grade": [0.0, 0.0, 1.0, 1.0]}
    predictions = make_predictions("search", "f", columns)
    found = compared(tmp_path, predictions, predictions, samples=1000)
    assert "en: metrics are of 1 of 2 units; the others have no value" in found.notes


def test_other_data_another_kind_and_no_metric_are_one_line(tmp_path: Path) -> None:
    right = np.ones(4, bool)
    first = write(tmp_path / "a", texts(right))
    second = write(tmp_path / "b", texts(right, fingerprint="g"))
    with pytest.raises(UserError, match=f"{first} and {second}: they differ in the fingerprint of their data"):
        compare(first, second)
    with pytest.raises(UserError, match="they differ in kind, 'text' and 'pairs'"):
        compare(first, write(tmp_path / "c", pair_predictions()))
    with pytest.raises(UserError, match="the seed is -1; allowed: 0 and above"):
        compare(first, first, seed=-1)
    empty = make_predictions("pairs", "f", COLUMNS_OF["pairs"] | {"label": [0, 0, 0]})
    folder = write(tmp_path / "d", empty)
    with pytest.raises(UserError, match="no metric is defined .*positive") as caught:
        compare(folder, folder, samples=5)
    assert "\n" not in str(caught.value)


def naive_holm(p_values: list[float]) -> list[float]:
    """Returns the least bound at which Holm's procedure rejects each hypothesis, of bounds that could matter."""
    count = len(p_values)
    bounds = sorted({min(1.0, factor * p_value) for factor in range(1, count + 1) for p_value in p_values} | {1.0})

    def rejected(bound: float) -> set[int]:
        found: set[int] = set()
        for rank, index in enumerate(sorted(range(count), key=lambda index: p_values[index])):
            if bound < 1 and (count - rank) * p_values[index] > bound:
                break
            found.add(index)
        return found

    return [next(bound for bound in bounds if index in rejected(bound)) for index in range(count)]


@given(p_values=st.lists(st.floats(1e-4, 1), max_size=7))
def test_holm_is_the_step_down_procedure(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(naive_holm(p_values))


def test_holm_of_the_known_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    corrected, discoveries = holm([0.01, 0.04, 0.03]), false_discovery_control([0.01, 0.04, 0.03])
    assert (np.array(corrected) >= discoveries).all()  # stricter than the bound on the share of false discoveries
