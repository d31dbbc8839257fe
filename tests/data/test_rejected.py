"""Bad records are written down and tolerated up to the stated fraction."""

import json
from pathlib import Path

import pytest

from m5jax.data.rejected import RejectLog
from m5jax.errors import UserError


def test_bad_records_within_the_fraction_are_written_with_location_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "rejected.jsonl"
    with RejectLog(path, 0.02) as log:
        for _ in range(98):
            log.accept()
        log.reject("a.jsonl:7", "not UTF-8")
        log.reject("a.jsonl:9", "title is missing or empty")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows == [
        {"location": "a.jsonl:7", "reason": "not UTF-8"},
        {"location": "a.jsonl:9", "reason": "title is missing or empty"},
    ]
    assert (log.accepted, log.rejected) == (98, 2)


def test_too_many_bad_records_stop_the_pass_as_soon_as_a_hundred_were_read(tmp_path: Path) -> None:
    log = RejectLog(tmp_path / "rejected.jsonl", 0.01)
    for _ in range(98):
        log.accept()
    log.reject("a:99", "first")
    with pytest.raises(UserError, match=r"2 of the first 100 records are bad \(2.0%, allowed: 1.0%\).*a:99: first"):
        log.reject("a:100", "second")


def test_a_short_input_is_judged_at_its_end(tmp_path: Path) -> None:
    log = RejectLog(tmp_path / "rejected.jsonl", 0.01)
    log.reject("a:1", "bad")
    log.accept()
    with pytest.raises(UserError, match="1 of the first 2"):
        log.__exit__(None, None, None)


def test_a_clean_pass_leaves_no_file_and_removes_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "rejected.jsonl"
    path.write_text("old")
    with RejectLog(path) as log:
        log.accept()
    assert not path.exists()


def test_an_unwritable_path_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        RejectLog(tmp_path / "file" / "rejected.jsonl").reject("a:1", "bad")


def test_a_wrong_fraction_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="allowed: 0 to 1"):
        RejectLog(tmp_path / "rejected.jsonl", 5.0)
