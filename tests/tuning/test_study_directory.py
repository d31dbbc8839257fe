import errno
import fcntl

import pytest

from m5jax.configuration.run_process import try_lock
from m5jax.errors import UserError
from m5jax.tuning.study_directory import JOURNAL, open_study
from tests.tuning.studies import make_work, told


def opened(directory, definition=None, **tuning):
    work = make_work(directory, **tuning)
    return open_study(directory, work.tuning, definition or work.definition)


def test_a_study_is_found_again(tmp_path):
    trial = opened(tmp_path / "new" / "study", direction="maximize").ask()
    trial.suggest_float("x", 0, 1)
    (found,) = opened(tmp_path / "new" / "study", direction="maximize").get_trials()
    assert found.params == trial.params


def test_another_definition_is_refused_and_the_difference_named(tmp_path):
    opened(tmp_path, {"metric": "a", "seed": "0"})
    with pytest.raises(UserError) as error:
        opened(tmp_path, {"metric": "b", "seed": "0", "TrainerConfig.steps": "5"})
    assert "holds another study (TrainerConfig.steps: unset there, 5 now; metric: a there, b now); choose" in str(
        error.value
    )
    opened(tmp_path, {"seed": "0", "metric": "a"})


def test_other_files_are_not_joined(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"holds files but no study.journal"):
        opened(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        opened(tmp_path / "thesis.tex")
    with pytest.raises(UserError, match="cannot write the study's directory"):
        opened(tmp_path / "thesis.tex" / "study")


def test_half_a_line_at_the_end_is_left_out(tmp_path, caplog):
    work = make_work(tmp_path)
    opened(tmp_path).ask()
    before = told(work)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":5,"worker')
    assert told(work) == before
    assert "ends in half a line" in caplog.text
    opened(tmp_path).ask()
    assert len(told(work)) == 2


def test_a_broken_journal_is_said_in_one_line(tmp_path):
    opened(tmp_path).ask()
    lines = (tmp_path / JOURNAL).read_bytes().split(b"\n")
    (tmp_path / JOURNAL).write_bytes(b"\n".join([lines[0], b"?", *lines[1:]]))
    with pytest.raises(UserError, match=r"cannot read the journal .*; restore it from a copy") as error:
        opened(tmp_path)
    assert "\n" not in str(error.value)


def test_a_lock_is_held_by_one_until_it_is_closed(tmp_path):
    first = try_lock(tmp_path / "lock")
    assert try_lock(tmp_path / "lock") is None
    first.close()
    try_lock(tmp_path / "lock").close()


def test_a_file_system_without_locks_is_refused_in_one_line(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError, match="locks/study: No locks available; choose a --study where files can be"):
        opened(tmp_path)
