"""`report.json` reads back as written; what is damaged or foreign is one line."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.evaluation.estimates import Estimate
from m5jax.evaluation.prediction_columns import KINDS
from m5jax.evaluation.report_data import (
    Curve,
    EvaluationReport,
    Example,
    Group,
    Line,
    Matrix,
    read_report_data,
    write_report_data,
)
from tests.evaluation.evaluation_examples import HOSTILE, report_of

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
POINTS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=5)
FIELDS = st.dictionaries(st.text(), st.text(), max_size=3)


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    low, value, high = sorted(draw(st.tuples(NUMBERS, NUMBERS, NUMBERS)))
    ends = (low, high) if draw(st.booleans()) else (None, None)
    return Estimate(value, *ends, draw(st.integers(1, 10**12)))


@st.composite
def matrices(draw: st.DrawFn) -> Matrix:
    labels = draw(st.lists(st.text(), max_size=3, unique=True))
    row = st.tuples(*[st.integers(0, 10**9)] * len(labels))
    return Matrix(draw(st.text()), tuple(labels), tuple(draw(row) for _ in labels))


LINES = st.builds(
    lambda name, points: Line(name, tuple(x for x, _ in points), tuple(y for _, y in points)), st.text(), POINTS
)
REPORTS = st.builds(
    EvaluationReport,
    title=st.text(),
    kind=st.sampled_from(KINDS),
    facts=FIELDS,
    groups=st.dictionaries(st.text(), st.dictionaries(st.text(), estimates(), max_size=3), min_size=1, max_size=3).map(
        lambda groups: tuple(Group(name, metrics) for name, metrics in groups.items())
    ),
    curves=st.lists(
        st.builds(Curve, st.text(), st.text(), st.text(), st.lists(LINES, max_size=2).map(tuple), st.booleans()),
        max_size=2,
    ).map(tuple),
    matrices=st.lists(matrices(), max_size=2).map(tuple),
    examples=st.lists(st.builds(Example, st.text(), FIELDS), max_size=2).map(tuple),
    notes=st.lists(st.text(), max_size=2).map(tuple),
)


@given(report=REPORTS)
def test_any_report_reads_back(tmp_path_factory: pytest.TempPathFactory, report: EvaluationReport) -> None:
    folder = tmp_path_factory.mktemp("report")
    assert write_report_data(folder, report) == folder / "report.json"
    read = read_report_data(folder)
    assert read == report
    for group, written in zip(read.groups, report.groups, strict=True):
        assert list(group.metrics) == list(written.metrics)  # the order of tables


def test_the_file_is_plain_json_with_a_version(tmp_path: Path) -> None:
    write_report_data(tmp_path, report_of(HOSTILE))
    values = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (values["format"], values["version"]) == ("m5jax evaluation", 1)
    assert values["groups"][0]["metrics"][f"f1 {HOSTILE}"] == {"value": 0.8, "low": 0.75, "high": 0.85, "count": 1200}
    assert values["matrices"][0]["counts"] == [[7, 1], [0, 23]]


def paths_of(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Returns the path to each value in JSON, the whole included."""
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [path, *(found for name, value in items for found in paths_of(value, (*path, name)))]


@pytest.mark.parametrize("other", [None, [], {}, "text", math.nan, -1, True])
def test_a_value_of_another_type_is_refused_wherever_it_is(tmp_path: Path, other: Any) -> None:
    path = write_report_data(tmp_path, report_of())
    text = path.read_text(encoding="utf-8")
    for place in paths_of(json.loads(text)):
        values = {"all": json.loads(text)}
        *outer, last = ("all", *place)
        holder: Any = values
        for name in outer:
            holder = holder[name]
        # JSON has one kind of numbers; half an interval is refused below.
        numbers = isinstance(holder[last], float) and type(other) is int
        if type(holder[last]) is type(other) or numbers or last in ("low", "high", "version"):
            continue
        holder[last] = other
        path.write_text(json.dumps(values["all"]), encoding="utf-8")
        with pytest.raises(UserError, match=r"report\.json: not the report of an evaluation") as caught:
            read_report_data(tmp_path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"low": 0.75', '"low": null'),
        ('"low": 0.75', '"low": NaN'),
        ('"low": 0.75', '"low": Infinity'),
        ('"low": 0.75', '"low": 1e999'),
        ('"low": 0.75', '"low": 1' + 400 * "0"),
        ('"value": 0.8', '"value": -1e999'),
        ('"count": 1200', '"count": 0'),
        ('"count": 1200', '"count": 1200, "extra": 1'),
        ('"heading"', '"other"'),
        ('"pairs"', '"pair"'),
        ('"second de"', '"first de"'),
        ('"b de"', '"a de"'),
        ("{", ""),
        ("{", "[" * 100_000),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, old: str, new: str) -> None:
    path = write_report_data(tmp_path, report_of())
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"report\.json: not the report of an evaluation") as caught:
        read_report_data(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(path))


def test_foreign_newer_and_missing_files_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with pytest.raises(UserError, match=r"cannot read .*report\.json"):
        read_report_data(tmp_path)
    for text in ("", "[]", "{}", '{"format": "other", "version": 1}', "null"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"report\.json: not the report of an evaluation"):
            read_report_data(tmp_path)
    path.write_text('{"format": "m5jax evaluation", "version": 2}')
    with pytest.raises(UserError, match="version 2; allowed: 1"):
        read_report_data(tmp_path)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(UserError, match=r"report\.json: not the report"):
        read_report_data(tmp_path)


def test_what_a_report_may_not_hold_is_named() -> None:
    with pytest.raises(UserError, match="line 'a' has 1 x and 2 y"):
        Line("a", (1.0,), (1.0, 2.0))
    with pytest.raises(UserError, match="line 'a' holds NaN"):
        Line("a", (1.0,), (math.nan,))
    with pytest.raises(UserError, match="the counts of 'm' are not 2 by 2"):
        Matrix("m", ("a", "b"), ((1, 2),))
    with pytest.raises(UserError, match="the counts of 'm' are not 2 by 2"):
        Matrix("m", ("a", "b"), ((1, 2), (1,)))
    with pytest.raises(UserError, match="negative"):
        Matrix("m", ("a",), ((-1,),))
    with pytest.raises(UserError, match="two labels are named 'a'"):
        Matrix("m", ("a", "a"), ((1, 2), (1, 2)))
    with pytest.raises(UserError, match="has no group"):
        EvaluationReport("t", "pairs", {}, ())
    with pytest.raises(UserError, match="did you mean pairs"):
        EvaluationReport("t", "pair", {}, (Group("de", {}),))


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write"):
        write_report_data(tmp_path / "missing", report_of())
