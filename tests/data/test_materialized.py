"""Rows on disk: the same as live, resumable at any row on any number of processes, and refused when they do not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m5jax.data.materialized import MaterializedBatches, Rows, read_rows, write_rows
from m5jax.errors import UserError
from tests.data.conftest import TinyCorpus

ROWS, LENGTH = 50, 12


def made_up(count: int = ROWS) -> list[dict[str, np.ndarray]]:
    """Returns batches of 4 rows whose content says their number."""
    numbers = np.arange(count + 3)
    return [
        {
            "inputs": np.repeat(numbers[start : start + 4, None], LENGTH, axis=1).astype(np.int32),
            "loss_weights": np.repeat(numbers[start : start + 4, None], 3, axis=1).astype(np.float32) / 2,
        }
        for start in range(0, count, 4)
    ]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr("m5jax.data.materialized.ROWS_A_SHARD", 16)
    directory = tmp_path_factory.mktemp("rows") / "made_up"
    written = write_rows(made_up(), ROWS, directory, {"seed": 3, "lengths": (LENGTH, 3)})
    monkeypatch.undo()
    assert len(written.shards) == 4
    return read_rows(directory)


def numbers(batches: MaterializedBatches, count: int) -> list[int]:
    taken = []
    for _ in range(count):
        batch = next(batches)
        assert (batch["inputs"] == batch["inputs"][:, :1]).all()
        assert np.array_equal(batch["loss_weights"], np.repeat(batch["inputs"][:, :1] / 2, 3, axis=1))
        taken += batch["inputs"][:, 0].tolist()
    return taken


def test_rows_come_in_order_and_begin_again(rows: Rows) -> None:
    batches = MaterializedBatches(rows, 10)
    assert batches.shapes == {"inputs": (10, LENGTH), "loss_weights": (10, 3)}
    assert numbers(batches, 7) == [row % ROWS for row in range(70)]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_another_number_of_processes_goes_on_with_the_next_row(rows: Rows, tmp_path: Path, data: st.DataObject) -> None:
    """Stops after any step; each part has its own number of processes and batch size, and each row is seen once."""
    seen: list[int] = []
    position = None
    for _ in range(data.draw(st.integers(1, 3))):
        processes = data.draw(st.integers(1, 4))
        batch_size = processes * data.draw(st.integers(1, 5))
        steps = data.draw(st.integers(0, 4))
        hosts = [MaterializedBatches(rows, batch_size, index, processes) for index in range(processes)]
        for host in hosts:
            if position is not None:
                host.restore(position)
        for _ in range(steps):
            seen += [number for host in hosts for number in numbers(host, 1)]
        position = tmp_path / f"{len(seen)}"
        hosts[-1].save(position)
    assert seen == [row % ROWS for row in range(len(seen))]


def test_a_restored_position_forgets_what_was_read_ahead(rows: Rows, tmp_path: Path) -> None:
    batches = MaterializedBatches(rows, 5)
    numbers(batches, 2)
    batches.save(tmp_path)
    expected = numbers(batches, 3)
    batches.restore(tmp_path)
    assert numbers(batches, 3) == expected == list(range(10, 25))


def test_live_rows_and_written_ones_are_equal(tiny: TinyCorpus, tmp_path: Path) -> None:
    """The first 1,000 packed rows."""
    from m5jax.data.pipeline import training_batches

    def live(batch_size: int):  # type: ignore[no-untyped-def]
        return training_batches("tiny_ul2", length=64, targets_length=32, batch_size=batch_size, seed=0)

    write_rows(live(7), 1000, tmp_path / "rows", {})
    written = MaterializedBatches(read_rows(tmp_path / "rows"), 8)
    batches = live(8)
    for _ in range(125):
        expected, found = next(batches), next(written)
        assert expected.keys() == found.keys()
        for name in expected:
            assert expected[name].dtype == found[name].dtype
            assert np.array_equal(expected[name], found[name])


def test_other_definitions_are_refused_with_the_difference(rows: Rows) -> None:
    rows.check({"seed": 3, "lengths": [LENGTH, 3]})
    with pytest.raises(UserError, match="another definition: seed was 3, is 4"):
        rows.check({"seed": 4, "lengths": [LENGTH, 3]})


def test_damaged_directories_are_refused(tmp_path: Path) -> None:
    directory = tmp_path / "rows"
    with pytest.raises(UserError, match="holds no rows"):
        read_rows(directory)
    write_rows(made_up(), ROWS, directory, {})
    with pytest.raises(UserError, match="exists"):
        write_rows(made_up(), ROWS, directory, {})
    (shard,) = directory.glob("*.array_record")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    with pytest.raises(UserError, match=rf"has {len(whole) - 100} bytes of {len(whole)}"):
        read_rows(directory)
    shard.unlink()
    with pytest.raises(UserError, match="is missing"):
        read_rows(directory)
    (directory / "rows.json").write_text(json.dumps({"version": 0}))
    with pytest.raises(UserError, match="have format 0"):
        read_rows(directory)


def test_impossible_requests_are_refused(rows: Rows, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a batch of 10 rows does not split into 3 equal parts"):
        MaterializedBatches(rows, 10, 0, 3)
    with pytest.raises(UserError, match="0 rows were asked for"):
        write_rows(made_up(), 0, tmp_path / "none", {})
    with pytest.raises(UserError, match="no data position"):
        MaterializedBatches(rows, 10).restore(tmp_path)
    write_rows(made_up(20), 20, tmp_path / "other", {})
    MaterializedBatches(read_rows(tmp_path / "other"), 10).save(tmp_path / "position")
    with pytest.raises(UserError, match="is of other rows"):
        MaterializedBatches(rows, 10).restore(tmp_path / "position")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("m5jax.data.materialized._write_shards", full)
    with pytest.raises(UserError, match="No space left"):
        write_rows(made_up(), ROWS, tmp_path / "rows", {})
    assert not list(tmp_path.iterdir())
