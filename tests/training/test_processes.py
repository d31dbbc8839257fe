"""Several processes train as one, go on from each other's checkpoints, and say which host is not like the others."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m5jax.errors import UserError
from m5jax.training.processes import check_alike, exchange, failing_together, join_cluster, join_processes
from m5jax.training.run_log import read_metrics
from tests.processes import free_port, run_together


def run_processes(what: str, count: int, *arguments: Any, devices: int = 1) -> list[str]:
    """Runs `tests.training.one_process` as `count` processes; returns what each printed."""
    command = [sys.executable, "-m", "tests.training.one_process", what, str(free_port()), str(count)]
    finished = run_together([[*command, str(index), *map(str, arguments)] for index in range(count)], devices)
    for process in finished:
        assert process.status == 0, process.errors[-3000:]
    return [process.output for process in finished]


def losses(run_dir: Path) -> list[float]:
    return [row["train/loss"] for row in read_metrics(run_dir) if "train/loss" in row]


def test_any_number_of_processes_trains_as_one_and_goes_on_from_the_others(tmp_path: Path) -> None:
    split = {"fsdp": 2, "tensor": 2}
    run_processes("train", 1, tmp_path / "alone", 8, json.dumps(split), devices=4)
    run_processes("train", 2, tmp_path / "run", 2, json.dumps(split), devices=2)
    run_processes("train", 1, tmp_path / "run", 4, json.dumps({"data": 2, "fsdp": 2}), devices=4)
    # Two processes hold, and read, the same rows here.
    run_processes("train", 4, tmp_path / "run", 8, json.dumps(split), devices=1)
    expected = losses(tmp_path / "alone")
    assert len(expected) == 8
    np.testing.assert_allclose(losses(tmp_path / "run"), expected, atol=1e-4)
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints" / "8" / "data").glob("process_*")) == [
        f"process_{index}" for index in range(4)
    ]


def test_hosts_that_differ_are_named_and_one_that_fails_ends_all() -> None:
    first, second = (json.loads(printed) for printed in run_processes("disagree", 2))
    assert first[0] == second[0] == [{"index": 0}, {"index": 1}]
    host = socket.gethostname()
    differing = f"the processes differ in configuration: cd on {host} (process 0); ab on {host} (process 1)"
    assert first[1] == second[1] == differing
    assert first[2] == f"{host} (process 1): no file here"
    assert second[2] == "no file here"
    assert first[3] == second[3] == ""


def test_one_process_agrees_with_itself() -> None:
    assert exchange("own") == ["own"]
    check_alike({"configuration": "a"})
    with pytest.raises(UserError, match="no file"), failing_together():
        raise UserError("no file")


@pytest.mark.parametrize(
    ("coordinator", "count", "index", "message"),
    [
        ("host", 2, 0, "--coordinator=host is not of the form HOST:PORT"),
        ("host:port", 2, 0, "--coordinator=host:port is not of the form HOST:PORT"),
        ("host:1", 2, 2, "--process=2 is none of 2 processes; allowed: 0 to 1"),
    ],
)
def test_wrong_flags(coordinator: str, count: int, index: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        join_processes(coordinator, count, index)


@pytest.mark.parametrize(("own", "expected"), [(None, []), ("0", None)])
def test_a_process_of_a_cluster_has_all_devices_of_its_host(
    monkeypatch: pytest.MonkeyPatch, own: str | None, expected: list[int] | None
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("jax.distributed.initialize", lambda *names, **settings: asked.append((names, settings)))
    monkeypatch.delenv("JAX_LOCAL_DEVICE_IDS", raising=False)
    if own is not None:
        monkeypatch.setenv("JAX_LOCAL_DEVICE_IDS", own)
    join_cluster()
    assert asked[0][0] == (None, None, None)
    assert asked[0][1]["local_device_ids"] == expected
