"""The folder of an evaluation is written whole or not at all, and found in a run."""

from pathlib import Path

import pytest

from m5jax.errors import UserError
from m5jax.evaluation import reports
from m5jax.evaluation.predictions import read_predictions
from m5jax.evaluation.report_data import read_report_data
from m5jax.evaluation.reports import find_evaluation, write_evaluation
from tests.evaluation.evaluation_examples import HOSTILE, pair_predictions, report_of
from tests.evaluation.html_checks import Page

FILES = ["predictions.parquet", "report.html", "report.json", "report.md"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("made", [False, True])
def test_four_files_are_written_into_a_new_or_empty_folder(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "run" / "evaluations" / "pairs"
    if made:
        folder.mkdir(parents=True)
    assert write_evaluation(folder, report_of(HOSTILE), pair_predictions()) == folder
    assert names_in(folder) == FILES
    assert names_in(folder.parent) == ["pairs"]
    assert read_report_data(folder) == report_of(HOSTILE)
    assert read_predictions(folder) == pair_predictions()
    Page((folder / "report.html").read_text(encoding="utf-8")).check_stands_alone()
    assert "Worst mistakes" in (folder / "report.md").read_text(encoding="utf-8")


def test_texts_that_utf_8_has_no_letters_for_are_written(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "a", report_of("\ud800"), pair_predictions())
    assert read_report_data(folder) == report_of("\ud800")


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "other.txt").write_text("kept")
    with pytest.raises(UserError, match="a exists; remove it or choose another one"):
        write_evaluation(folder, report_of(), pair_predictions())
    assert names_in(tmp_path) == ["a"]
    assert names_in(folder) == ["other.txt"]
    with pytest.raises(UserError, match="exists; remove it"):
        write_evaluation(folder / "other.txt", report_of(), pair_predictions())


def test_a_second_evaluation_does_not_replace_the_first(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "a", report_of("first"), pair_predictions())
    with pytest.raises(UserError, match="exists"):
        write_evaluation(folder, report_of("second"), pair_predictions())
    assert read_report_data(folder) == report_of("first")


def test_nothing_is_left_of_what_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(report: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reports, "report_html", fail)
    with pytest.raises(UserError, match=r"cannot write .*: No space left on device"):
        write_evaluation(tmp_path / "runs" / "a", report_of(), pair_predictions())
    assert names_in(tmp_path / "runs") == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_evaluation(tmp_path / "file" / "a", report_of(), pair_predictions())


def test_report_and_predictions_are_of_one_kind(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the report is of kind text, its predictions of kind pairs"):
        write_evaluation(tmp_path / "a", report_of(kind="text"), pair_predictions())
    assert names_in(tmp_path) == []


def test_an_evaluation_is_found_by_its_folder_or_by_its_run(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "run" / "evaluations" / "pairs", report_of(), pair_predictions())
    assert find_evaluation(folder) == find_evaluation(tmp_path / "run") == folder
    assert find_evaluation(tmp_path / "run", "pairs") == folder
    with pytest.raises(UserError, match="unknown evaluation of .* 'pair'; did you mean pairs"):
        find_evaluation(tmp_path / "run", "pair")


def test_of_several_evaluations_one_is_to_be_named(tmp_path: Path) -> None:
    for name in ("pairs", "clicks"):
        write_evaluation(tmp_path / "evaluations" / name, report_of(), pair_predictions())
    (tmp_path / "evaluations" / "empty").mkdir()
    with pytest.raises(UserError, match="several evaluations; add --evaluation= with one of clicks, pairs"):
        find_evaluation(tmp_path)
    assert find_evaluation(tmp_path, "clicks") == tmp_path / "evaluations" / "clicks"


def test_a_folder_without_an_evaluation_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match="holds no evaluation"):
            find_evaluation(path)
