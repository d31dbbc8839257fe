"""Ratios of sums over texts, against sums over rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.evaluation.metrics.masked import HIDDEN, MOST_ATTRIBUTES, OTHERS, masked_ratios, pooled_attributes, ratio

ROWS = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.floats(0, 9), st.text(max_size=5)), min_size=1)


@given(rows=ROWS, hidden=st.sampled_from(HIDDEN))
def test_metrics_are_sums_over_rows(rows: list[tuple[int, bool, float, str]], hidden: str) -> None:
    texts, correct, losses, targets = zip(*rows, strict=True)
    found = masked_ratios(hidden, np.array(texts), np.array(correct), np.array(losses), targets)
    values = {name: float(own.values @ own.weights / own.weights.sum()) for name, own in found.items()}
    expected = {f"{hidden}_accuracy": sum(correct) / len(rows)}
    if hidden == "token":
        expected["nats_per_token"] = sum(losses) / len(rows)
    if hidden == "word":
        expected["nats_per_character"] = sum(losses) / sum(max(len(target), 1) for target in targets)
    assert values == pytest.approx(expected)
    for own in found.values():
        assert len(own.values) == len(own.weights) == len(set(texts))


def test_a_ratio_of_each_text_is_its_own() -> None:
    values, weights = ratio(np.array([7, 2, 7]), np.array([1.0, 3.0, 4.0]), [2, 3, 8])
    assert values.tolist() == [1.0, 0.5]
    assert weights.tolist() == [3.0, 10.0]


@given(st.lists(st.sampled_from([f"name {number}" for number in range(15)])))
def test_attributes_beside_the_most_frequent_are_pooled(attributes: list[str]) -> None:
    found = pooled_attributes(attributes)
    kept = {name for name in found if name != OTHERS}
    assert len(kept) == min(MOST_ATTRIBUTES, len(set(attributes)))
    for before, after in zip(attributes, found, strict=True):
        assert after == (before if before in kept else OTHERS)
    counts = {name: attributes.count(name) for name in attributes}
    rest = set(attributes) - kept
    assert all(counts[name] >= counts[other] for name in kept for other in rest)
