import os
import subprocess
import sys
from threading import Event

import pytest

from m5jax.configuration.run_process import (
    End,
    RunFiles,
    last_error,
    run_process,
    try_lock,
    worker_environment,
)
from m5jax.errors import UserError


@pytest.fixture
def files(tmp_path):
    for name in ("locks", "logs", "trials"):
        (tmp_path / name).mkdir()
    return RunFiles(tmp_path, "trials", "0007")


def python(code):
    return [sys.executable, "-S", "-c", code]


def run(files, code, goes_on=lambda: True, stop=None, environment=None):
    return run_process(python(code), environment or os.environ, files, goes_on, stop or Event(), 0.01)


def test_its_status_is_returned_and_its_output_kept(files):
    code = "import os, sys; print('said'); print(os.environ['A'], file=sys.stderr); sys.exit(3)"
    assert run(files, code, environment={**os.environ, "A": "wrong"}) == (End.BY_ITSELF, 3)
    assert files.output.read_text() == "said\n"
    assert files.errors.read_text() == "wrong\n"


def test_the_signal_that_killed_it_is_returned(files):
    assert run(files, "import os; os.kill(os.getpid(), 9)") == (End.BY_ITSELF, -9)


SAVES = """
import pathlib, signal, sys, time
def save(*_):
    pathlib.Path({saved!r}).touch()
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
pathlib.Path({ready!r}).touch()
time.sleep(60)
"""


def test_what_is_not_worth_it_is_asked_to_save_and_end(files):
    ready, saved = files.directory / "ready", files.directory / "saved"
    code = SAVES.format(saved=str(saved), ready=str(ready))
    assert run(files, code, goes_on=lambda: not ready.exists()) == (End.NOT_WORTH_IT, 75)
    assert saved.exists()


def test_it_is_asked_to_end_when_the_study_stops(files):
    ready, saved, stop = files.directory / "ready", files.directory / "saved", Event()

    def goes_on():
        if ready.exists():
            stop.set()
        return True

    code = SAVES.format(saved=str(saved), ready=str(ready))
    assert run(files, code, goes_on, stop) == (End.STOPPED, 75)
    assert saved.exists()


WAITS = """
import os, pathlib, time
pathlib.Path({pid!r} + ".new").write_text(str(os.getpid()))
os.rename({pid!r} + ".new", {pid!r})
while not os.path.exists({go!r}):
    time.sleep(0.01)
pathlib.Path({written!r}).touch()
"""


def test_all_that_it_wrote_is_seen_before_its_end_is_told(files):
    """It writes, and ends, just after it was looked at."""
    pid, go, written = (files.directory / name for name in ("pid", "go", "written"))
    seen = []

    def goes_on():
        seen.append(written.exists())
        if pid.exists() and not go.exists():
            go.touch()
            os.waitid(os.P_PID, int(pid.read_text()), os.WEXITED | os.WNOWAIT)
        return True

    code = WAITS.format(pid=str(pid), go=str(go), written=str(written))
    assert run(files, code, goes_on) == (End.BY_ITSELF, 0)
    assert seen[-2:] == [False, True]


def test_it_ends_where_its_watch_fails(files):
    ready, saved = files.directory / "ready", files.directory / "saved"

    def goes_on():
        if ready.exists():
            raise UserError("broken")
        return True

    with pytest.raises(UserError, match="broken"):
        run(files, SAVES.format(saved=str(saved), ready=str(ready)), goes_on)
    assert saved.exists()


def test_one_that_outlived_its_worker_is_waited_for(files):
    """Two processes in one run directory would disturb each other."""
    lock = try_lock(files.process_lock)
    left = subprocess.Popen(
        python("import sys; sys.stdin.read(); print('left', flush=True)"),
        stdin=subprocess.PIPE,
        stdout=files.output.open("wb"),
        pass_fds=(lock.fileno(),),
    )
    lock.close()
    stop = Event()
    stop.set()
    assert run(files, "pass", stop=stop) == (End.STOPPED, 0)
    left.stdin.close()
    order = files.directory / "order"
    code = f"open({str(order)!r}, 'w').write(open({str(files.output)!r} + '.kept').read())"
    os.link(files.output, files.output.with_name(files.output.name + ".kept"))
    files.output.unlink()
    assert run(files, code) == (End.BY_ITSELF, 0)
    assert order.read_text() == "left\n"
    assert left.wait() == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "nothing was said"),
        ("step 1\rstep 2\nm5jax: error: no such file\nlibrary: goodbye\n", "no such file"),
        ("Traceback\nValueError: bad\n\n", "ValueError: bad"),
        ("\xff" * 900, "\xff" * 300),
    ],
)
def test_the_reason_of_a_failure_is_the_last_error_said(tmp_path, text, expected):
    (tmp_path / "errors").write_text(text, encoding="utf-8")
    assert last_error(tmp_path / "errors") == expected


def test_workers_share_the_gpus_that_are_named():
    named = {"CUDA_VISIBLE_DEVICES": "0,1,4,5", "A": "b"}
    assert [worker_environment(named, index, 2)["CUDA_VISIBLE_DEVICES"] for index in range(2)] == ["0,1", "4,5"]
    assert worker_environment(named, 0, 1) == named
    assert worker_environment({"A": "b"}, 1, 2) == {"A": "b"}
    for workers in (3, 8):
        with pytest.raises(UserError, match="does not share equally"):
            worker_environment(named, 0, workers)
