"""The final table, and the summary that it and the report are made from."""

from pathlib import Path

import pytest

from m5jax.errors import UserError
from m5jax.evaluation.tables import (
    LanguageResult,
    RunSummary,
    format_table,
    read_summary,
    run_summary,
    write_summary,
)

SUMMARY = RunSummary(
    languages={"en": LanguageResult(2.0714, 0.5612, 0.0713, 6.2), "de": LanguageResult(2.5, 0.5)},
    steps=500,
    tokens_per_second=48_123.4,
    model_flop_utilization=0.4123,
    command="m5jax train",
    versions={"jax": "0.10.2"},
    written={"report": "runs/a/report.html", "checkpoints": "runs/a/checkpoints"},
)


def test_cells_stay_as_they_are_and_stand_in_columns() -> None:
    table = format_table(["name", "value"], [["a", "1.50"], ["longer", "1e5"]], ["left", "right"])
    assert table.splitlines() == ["name      value", "------  -------", "a          1.50", "longer      1e5"]


def test_a_table_without_rows_is_its_head() -> None:
    assert format_table(["name", "value"], [], ["left", "right"]).split() == ["name", "value", "------", "-------"]


def test_run_summary_shows_results_speed_and_places() -> None:
    lines = run_summary(SUMMARY).splitlines()
    assert lines[2].split() == ["de", "2.500", "50.0%", "–", "–"]
    assert lines[3].split() == ["en", "2.071", "56.1%", "7.1%", "+49.0"]
    assert lines[5:] == [
        "speed        48,123 tokens/s, 41.2% of peak FLOPs",
        "report       runs/a/report.html",
        "checkpoints  runs/a/checkpoints",
    ]


def test_summary_reads_back(tmp_path: Path) -> None:
    assert read_summary(tmp_path) == RunSummary()
    assert write_summary(tmp_path, RunSummary(command="first")) == tmp_path / "summary.json"
    write_summary(tmp_path, SUMMARY)
    assert read_summary(tmp_path) == SUMMARY
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"languages": {}, "other": 1}', '{"languages": {"en": {}}}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(UserError, match=r"summary\.json: not the summary of a run"):
        read_summary(tmp_path)


def test_an_unwritable_place_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        write_summary(tmp_path / "file", SUMMARY)
