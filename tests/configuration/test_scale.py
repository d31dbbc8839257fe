"""Predictions beside what the compilers said, as `benchmarks/scale.py` and `benchmarks/hand_layouts.py` found it."""

import json

import pytest

from benchmarks.hand_layouts import RESULT as HAND
from benchmarks.scale import PAGE, predicted_bytes
from benchmarks.scale import RESULT as SCALE
from partitioning.slices import parse_slice

ROWS = json.loads(SCALE.read_text(encoding="utf-8"))["rows"]
BY_HAND = json.loads(HAND.read_text(encoding="utf-8"))["rows"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model']}-{row['topology']}")
def test_memory_is_predicted_within_a_tenth_of_the_compilers(row):
    assert predicted_bytes(row) == pytest.approx(row["compiled_bytes"], rel=0.1)
    assert row["compiled_bytes"] < row["memory_bytes"] == parse_slice(row["topology"]).chip.memory


@pytest.mark.parametrize("setting", sorted({(row["model"], row["topology"]) for row in BY_HAND}))
def test_no_layout_by_hand_that_the_compiler_takes_is_predicted_to_be_faster(setting):
    rows = [row for row in BY_HAND if (row["model"], row["topology"]) == setting]
    (chosen,), by_hand = ([row for row in rows if row["by"] == who] for who in ("planner", "hand"))
    assert len(by_hand) >= 4
    assert any(row["fits"] for row in by_hand)
    assert chosen["fits"]
    assert chosen["step_seconds"] <= min(row["step_seconds"] for row in by_hand if row["fits"])


def test_the_page_has_the_tables():
    text = PAGE.read_text(encoding="utf-8")
    for name in ("sizes", "published", "trillion"):
        table = text.partition(f"<!-- {name} -->")[2].partition(f"<!-- end of {name} -->")[0]
        assert len(table.splitlines()) > 5
