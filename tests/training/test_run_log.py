"""RunLog: the history is complete, has no duplicates after a resume, and reads back exactly."""

import json
import math
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboardX.proto.event_pb2 import Event, SessionLog

from m5jax.errors import UserError
from m5jax.training.run_log import RunLog, read_metrics

NAMES = st.text(min_size=1, max_size=12).filter(lambda name: name not in ("step", "time"))
LINES = st.lists(st.tuples(st.integers(0, 10**9), st.dictionaries(NAMES, st.floats(), max_size=4)), max_size=5)


def write_steps(run_dir: Path, steps: range, resume_step: int = 0, loss: float = 1.0) -> None:
    with RunLog(run_dir, resume_step) as log:
        for step in steps:
            log.write(step, {"train/loss": loss * step})


def steps_and_losses(run_dir: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["train/loss"]) for row in read_metrics(run_dir)]


def same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


def events(run_dir: Path) -> list[Event]:
    """Reads every TFRecord: uint64 length, uint32 checksum, data, uint32 checksum."""
    found = []
    for path in sorted((run_dir / "tensorboard").iterdir()):
        data, start = path.read_bytes(), 0
        while start < len(data):
            (length,) = struct.unpack_from("<Q", data, start)
            found.append(Event.FromString(data[start + 12 : start + 12 + length]))
            start += 16 + length
    return found


@given(lines=LINES)
@settings(max_examples=25, deadline=None)
def test_every_value_reads_back(lines: list[tuple[int, dict[str, float]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with RunLog(Path(folder)) as log:
            for step, values in lines:
                log.write(step, values)
        rows = read_metrics(Path(folder))
    assert [row["step"] for row in rows] == [step for step, _ in lines]
    for row, (_, values) in zip(rows, lines, strict=True):
        assert row.keys() - {"step", "time"} == values.keys()
        assert all(same(row[name], value) for name, value in values.items())


def test_lines_are_strict_json_that_spells_out_what_json_lacks(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.write(1, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": np.float32(0.5)})

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    row = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    assert {name: row[name] for name in "abcd"} == {"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": 0.5}


def test_pandas_reads_the_lines_as_numbers(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    with RunLog(tmp_path) as log:
        log.write(1, {"some": math.nan, "all": math.nan, "loss": 2.5})
        log.write(2, {"some": 1.5, "all": -math.inf})
    frame = pandas.read_json(tmp_path / "metrics.jsonl", lines=True)
    np.testing.assert_array_equal(frame["some"].to_numpy(float), [math.nan, 1.5])
    np.testing.assert_array_equal(frame["all"].to_numpy(float), [math.nan, -math.inf])
    np.testing.assert_array_equal(frame["loss"].to_numpy(float), [2.5, math.nan])


def test_resume_drops_the_lines_after_the_checkpoint(tmp_path: Path) -> None:
    write_steps(tmp_path, range(1, 8))
    write_steps(tmp_path, range(5, 10), resume_step=4, loss=10.0)
    assert steps_and_losses(tmp_path) == [(s, 1.0 * s) for s in range(1, 5)] + [(s, 10.0 * s) for s in range(5, 10)]


def test_a_run_without_a_checkpoint_starts_its_history_anew(tmp_path: Path) -> None:
    write_steps(tmp_path, range(3))
    write_steps(tmp_path, range(2), loss=10.0)
    assert steps_and_losses(tmp_path) == [(0, 0.0), (1, 10.0)]


def test_a_half_written_last_line_is_left_out_and_mended(tmp_path: Path) -> None:
    write_steps(tmp_path, range(1, 4))
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    for cut in range(len(whole.splitlines(keepends=True)[-1])):
        path.write_bytes(whole[: len(whole) - cut])
        # Without its newline only, the last line still says everything.
        assert [row["step"] for row in read_metrics(tmp_path)] == ([1, 2, 3] if cut < 2 else [1, 2])
    write_steps(tmp_path, range(3, 5), resume_step=2)
    assert steps_and_losses(tmp_path) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]


@pytest.mark.parametrize("line", ["[1]", "{", '{"step": 1, "loss": null}', '{"loss": 1}', '{"step": Infinity}'])
def test_a_broken_line_elsewhere_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl:2: .*allowed"):
        read_metrics(tmp_path)


def test_tensorboard_gets_the_scalars_and_the_restart(tmp_path: Path) -> None:
    write_steps(tmp_path, range(1, 4))
    write_steps(tmp_path, range(3, 5), resume_step=2)
    found = events(tmp_path)
    scalars = [(event.step, v.tag, v.simple_value) for event in found for v in event.summary.value]
    assert scalars == [(s, "train/loss", float(s)) for s in (1, 2, 3, 3, 4)]
    # TensorBoard hides what lies at or after the step of such an event in earlier files.
    assert [event.step for event in found if event.session_log.status == SessionLog.START] == [0, 3]


def test_reserved_names_are_refused(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log, pytest.raises(ValueError, match="'time'"):
        log.write(1, {"time": 2.0})


def test_an_unwritable_place_and_a_missing_file_are_user_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write .*file"):
        RunLog(tmp_path / "file" / "run")
    with pytest.raises(UserError, match=r"cannot read .*metrics\.jsonl"):
        read_metrics(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_a_user_error_at_the_write_and_at_the_end(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log._file.close()
    log._file = open("/dev/full", "w", buffering=1)  # noqa: SIM115 (RunLog closes it)
    with pytest.raises(UserError, match="No space left"):
        log.write(1, {"train/loss": 1.0})
    with pytest.raises(UserError, match="No space left"):
        log.close()
    log.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_under_tensorboard_neither_hangs_nor_hides_an_error_under_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fill(log: RunLog) -> None:
        log._tensorboard._writer._py_recordio_writer._writer = open("/dev/full", "wb")  # noqa: SIM115

    def fail(log: RunLog) -> None:
        with log:
            fill(log)
            log.write(1, {"train/loss": 1.0})
            raise KeyError("under way")

    log = RunLog(tmp_path)
    fill(log)
    with pytest.raises(UserError, match="No space left"):
        log.write(1, {f"value {index}": 1.0 for index in range(1_000)})
    with pytest.raises(KeyError, match="under way"):
        fail(RunLog(tmp_path / "other"))
    assert "No space left" in caplog.text
