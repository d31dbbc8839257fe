"""Checkpoints: what stays, what is written, and what happens to damaged ones."""

import json
import logging
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from m5jax.errors import UserError
from m5jax.training.checkpoints import Checkpoints, shapes_by_name
from m5jax.training.keep_policy import KeepPolicy
from m5jax.training.optimizers import Adafactor
from m5jax.training.schedules import InverseSquareRoot
from m5jax.training.state import TrainState, abstract_state
from tests.training.tiny import OPTIMIZER, TinyBatches, assert_same, encoder, one_device, tiny_state

MODEL = encoder()


@pytest.fixture(scope="module")
def states() -> tuple[TrainState, TrainState]:
    """(abstract, real)"""
    return tiny_state(MODEL, one_device())


def at(step: int, state: TrainState) -> TrainState:
    """Returns a state that differs from that of other steps in every array."""
    return jax.tree.map(lambda leaf: leaf + jnp.asarray(step, leaf.dtype), state)


def position(index: int) -> TinyBatches:
    batches = TinyBatches()
    batches.index = index
    return batches


def write(directory: Path, state: TrainState, steps: list[int], keep: KeepPolicy | None = None) -> None:
    with Checkpoints(directory, keep or KeepPolicy(last=10)) as checkpoints:
        for step in steps:
            checkpoints.save(step, at(step, state), position(step))
        checkpoints.wait()


@pytest.fixture(scope="module")
def three(states: tuple[TrainState, TrainState], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("written") / "checkpoints"
    write(directory, states[1], [1, 2, 3])
    return directory


@pytest.fixture
def directory(three: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(three, tmp_path / "checkpoints"))


@pytest.mark.parametrize(
    ("keep", "expected"),
    [(KeepPolicy(2), [6, 7]), (KeepPolicy(1, every=3), [3, 6, 7]), (KeepPolicy(9), list(range(1, 8)))],
)
def test_which_checkpoints_stay(
    keep: KeepPolicy, expected: list[int], states: tuple[TrainState, TrainState], tmp_path: Path
) -> None:
    small = TrainState(step=jnp.int32(0), parameters={"a": jnp.ones(2)}, optimizer=(), rng=states[1]["rng"])
    write(tmp_path, small, list(range(1, 8)), keep)
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == expected
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == expected


SMALL = {"parameters": {"a": jnp.ones(2)}, "optimizer": ()}


def write_values(directory: Path, keep: KeepPolicy, values: list[float | None]) -> list[int]:
    """Writes checkpoints 1, 2, ..., with the metric `m` where there is one, and returns the steps that stay."""
    state = TrainState(step=jnp.int32(0), rng=jax.random.key_data(jax.random.key(0)), **SMALL)
    with Checkpoints(directory, keep) as checkpoints:
        for step, value in enumerate(values, start=1):
            checkpoints.save(step, state, position(step), None if value is None else {"m": value, "other": -value})
        checkpoints.wait()
        return checkpoints.steps


@pytest.mark.parametrize(
    ("values", "largest", "steps"),
    [
        ([0.1, 0.9, 0.3, 0.2], True, [2, 4]),
        ([0.5, 0.1, 0.3, 0.2], False, [2, 4]),
        ([0.1, 0.2, 0.3], True, [3]),
        # Of equal ones the newest.
        ([0.9, 0.9, 0.2, 0.1], True, [2, 4]),
        ([0.1, 0.1, 0.2, 0.3], False, [2, 4]),
        # Some were not measured, such as where a run was interrupted.
        ([0.1, 0.9, None, 0.3, None], True, [2, 5]),
    ],
)
def test_the_best_checkpoint_stays_and_the_newest(
    values: list[float | None], largest: bool, steps: list[int], tmp_path: Path
) -> None:
    keep = KeepPolicy(last=1, best="m", largest=largest)
    assert write_values(tmp_path, keep, values) == steps
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == steps
    with Checkpoints(tmp_path, keep) as checkpoints:  # also of a run that ended
        step, metrics = checkpoints.best()
    assert step == steps[0]
    value = values[step - 1]
    assert value is not None
    assert metrics == {"m": value, "other": -value}


def test_a_run_that_goes_on_knows_the_best_of_before(tmp_path: Path) -> None:
    keep = KeepPolicy(last=1, best="m")
    write_values(tmp_path, keep, [0.1, 0.9, 0.3])
    state = TrainState(step=jnp.int32(0), rng=jax.random.key_data(jax.random.key(0)), **SMALL)
    with Checkpoints(tmp_path, keep) as checkpoints:
        for step, value in ((4, 0.5), (5, 0.6)):
            checkpoints.save(step, state, position(step), {"m": value})
        checkpoints.wait()
        assert (checkpoints.steps, checkpoints.best()[0]) == ([2, 5], 2)


def test_without_metrics_there_is_no_best_checkpoint(tmp_path: Path) -> None:
    keep = KeepPolicy(last=1, best="m")
    assert write_values(tmp_path, keep, [None, None]) == [2]
    with Checkpoints(tmp_path, keep) as checkpoints, pytest.raises(UserError, match="has metrics by which the best"):
        checkpoints.best()


def test_an_unknown_metric_is_named_at_the_first_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown KeepPolicy.best 'othr'; did you mean other"):
        write_values(tmp_path, KeepPolicy(last=1, best="othr"), [0.5])


def test_without_a_metric_to_choose_by_metrics_are_not_kept(tmp_path: Path) -> None:
    assert write_values(tmp_path, KeepPolicy(last=2), [0.9, 0.2, 0.1]) == [2, 3]
    assert not (tmp_path / "3" / "metrics").exists()


def test_impossible_policies_are_refused() -> None:
    for policy in ((0, 0), (1, -1)):
        with pytest.raises(UserError, match="KeepPolicy"):
            KeepPolicy(*policy)


def test_steps_may_go_on_while_a_checkpoint_is_written(states: tuple[TrainState, TrainState], tmp_path: Path) -> None:
    abstract, state = states
    state = at(0, state)
    expected = jax.tree.map(np.array, jax.device_get(state))
    overwrite = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf * 0 + 7, tree), donate_argnums=0)
    with Checkpoints(tmp_path, KeepPolicy()) as checkpoints:
        batches = position(5)
        checkpoints.save(5, state, batches)
        for _ in range(3):
            state = overwrite(state)
        batches.index = 99
        checkpoints.wait()
        restored = position(0)
        assert_same(checkpoints.restore_newest(abstract, restored), expected)
    assert restored.index == 5


def test_nothing_to_restore(states: tuple[TrainState, TrainState], tmp_path: Path) -> None:
    with Checkpoints(tmp_path, KeepPolicy()) as checkpoints:
        assert checkpoints.restore_newest(states[0], position(0)) is None
        with pytest.raises(UserError, match="has no checkpoint; there are: none"):
            checkpoints.restore_parameters(states[0]["parameters"])


def largest(item: Path) -> Path:
    return max((path for path in (item / "d").iterdir()), key=lambda path: path.stat().st_size)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "array deleted": lambda step: largest(step / "parameters").unlink(),
    "array cut": lambda step: truncate(largest(step / "parameters")),
    "array empty": lambda step: largest(step / "training").write_bytes(b""),
    "array bit": lambda step: flip(largest(step / "parameters")),
    "parameters missing": lambda step: shutil.rmtree(step / "parameters"),
    "optimizer missing": lambda step: shutil.rmtree(step / "training"),
    "metadata cut": lambda step: truncate(step / "training" / "_METADATA"),
    "index cut": lambda step: truncate(step / "parameters" / "manifest.ocdbt"),
    "position missing": lambda step: shutil.rmtree(step / "data"),
    "position file missing": lambda step: (step / "data" / "process_0" / "index.json").unlink(),
    "position changed": lambda step: (step / "data" / "process_0" / "index.json").write_text("9"),
    "position bit": lambda step: flip(step / "data" / "process_0" / "index.json"),
    "position manifest cut": lambda step: truncate(step / "data" / "process_0" / "manifest.json"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(
    damage: str,
    directory: Path,
    states: tuple[TrainState, TrainState],
    caplog: pytest.LogCaptureFixture,
) -> None:
    DAMAGES[damage](directory / "3")
    left = sorted(path.relative_to(directory / "3") for path in (directory / "3").rglob("*"))
    batches = position(0)
    with caplog.at_level(logging.WARNING), Checkpoints(directory, KeepPolicy()) as checkpoints:
        assert_same(checkpoints.restore_newest(states[0], batches), at(2, states[1]))
        assert checkpoints.steps == [1, 2]
        checkpoints.save(3, at(30, states[1]), position(3))  # its name is free again
        checkpoints.wait()
        assert checkpoints.steps == [1, 2, 3]
    assert batches.index == 2
    assert f"checkpoint {directory / '3'} is not intact" in caplog.text
    assert "3.corrupt" in caplog.text
    assert sorted(path.relative_to(directory / "3.corrupt") for path in (directory / "3.corrupt").rglob("*")) == left


def test_two_damaged_ones(directory: Path, states: tuple[TrainState, TrainState]) -> None:
    flip(largest(directory / "3" / "parameters"))
    shutil.rmtree(directory / "2" / "data")
    (directory / "3.corrupt").mkdir()  # of an earlier accident
    with Checkpoints(directory, KeepPolicy()) as checkpoints:
        assert_same(checkpoints.restore_newest(states[0], position(0)), at(1, states[1]))
    assert {path.name for path in directory.iterdir()} == {"1", "2.corrupt", "3.corrupt", "3.corrupt-2"}


def test_a_run_never_silently_begins_anew(directory: Path, states: tuple[TrainState, TrainState]) -> None:
    for step in "123":
        truncate(directory / step / "parameters" / "manifest.ocdbt")
    for _ in range(2):  # the second time too
        with (
            Checkpoints(directory, KeepPolicy()) as checkpoints,
            pytest.raises(UserError, match=r"none of the checkpoints \[1, 2, 3\] in .* is intact"),
        ):
            checkpoints.restore_newest(states[0], position(0))
    assert {path.name for path in directory.iterdir()} == {"1", "2", "3"}


def test_a_checkpoint_half_written_is_no_checkpoint(directory: Path, states: tuple[TrainState, TrainState]) -> None:
    (directory / "3").rename(directory / "3.orbax-checkpoint-tmp")
    batches = position(0)
    with Checkpoints(directory, KeepPolicy()) as checkpoints:
        assert checkpoints.steps == [1, 2]
        assert_same(checkpoints.restore_newest(states[0], batches), at(2, states[1]))
    assert batches.index == 2


def test_parameters_alone(
    directory: Path, states: tuple[TrainState, TrainState], caplog: pytest.LogCaptureFixture
) -> None:
    abstract, state = states
    for item in ("training", "data"):
        shutil.rmtree(directory / "3" / item)
    with Checkpoints(directory) as checkpoints:
        step, parameters = checkpoints.restore_parameters(abstract["parameters"])
        assert step == 3
        assert_same(parameters, at(3, state)["parameters"])
        assert_same(checkpoints.restore_parameters(abstract["parameters"], 1)[1], at(1, state)["parameters"])
        with pytest.raises(UserError, match=r"no checkpoint of step 4; there are: \[1, 2, 3\]"):
            checkpoints.restore_parameters(abstract["parameters"], 4)
        for damage in (lambda item: flip(largest(item)), shutil.rmtree):
            damage(directory / "3" / "parameters")
            assert checkpoints.restore_parameters(abstract["parameters"])[0] == 2
            with pytest.raises(UserError, match="intact; tried 3"):
                checkpoints.restore_parameters(abstract["parameters"], 3)
    assert "not intact" in caplog.text
    assert (directory / "3").exists()  # reading changes nothing


def test_another_model_or_optimizer_is_no_damage(directory: Path, states: tuple[TrainState, TrainState]) -> None:
    wider = encoder(mlp_hidden=64)
    other_model = abstract_state(wider, OPTIMIZER.make(wider.logical_axes, wider.width_multiple), one_device())
    other_optimizer = abstract_state(
        MODEL, Adafactor(InverseSquareRoot(1e-3, 5)).make(MODEL.logical_axes, MODEL.width_multiple), one_device()
    )
    with Checkpoints(directory, KeepPolicy()) as checkpoints:
        message = r"another model: layers/mlp/down is \(2, 32, 16\) there, \(2, 64, 16\) in the configured model"
        with pytest.raises(UserError, match=message):
            checkpoints.restore_newest(other_model, position(0))
        with pytest.raises(UserError, match=message):
            checkpoints.restore_parameters(other_model["parameters"])
        with pytest.raises(UserError, match="another optimizer"):
            checkpoints.restore_newest(other_optimizer, position(0))
    assert {path.name for path in directory.iterdir()} == {"1", "2", "3"}


def test_another_number_of_processes_is_refused(directory: Path, states: tuple[TrainState, TrainState]) -> None:
    manifest = directory / "3" / "data" / "process_0" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"processes": 4}))
    with (
        Checkpoints(directory, KeepPolicy()) as checkpoints,
        pytest.raises(UserError, match="saved by 4 processes, there are 1 now; resume on as many"),
    ):
        checkpoints.restore_newest(states[0], position(0))
    assert (directory / "3").exists()


def save_and_wait(checkpoints: Checkpoints, step: int, state: TrainState) -> None:
    checkpoints.save(step, state, position(step))
    checkpoints.wait()


@pytest.fixture
def full_disk() -> Iterator[Callable[[], None]]:
    """Lets writes fail in the operating system, for TensorStore's threads too, once called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk(states: tuple[TrainState, TrainState], tmp_path: Path, full_disk: Callable[[], None]) -> None:
    with Checkpoints(tmp_path, KeepPolicy()) as checkpoints:
        checkpoints.save(1, states[1], position(1))
        checkpoints.wait()
        full_disk()
        with pytest.raises(UserError, match=rf"cannot write a checkpoint to {tmp_path}: File too large"):
            save_and_wait(checkpoints, 2, states[1])
        assert checkpoints.steps == [1]


def test_an_input_whose_position_cannot_be_written(
    states: tuple[TrainState, TrainState], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("m5jax.training.input_position.save_position", fail)
    with (
        Checkpoints(tmp_path, KeepPolicy()) as checkpoints,
        pytest.raises(UserError, match=rf"cannot write a checkpoint to {tmp_path}: No space left on device"),
    ):
        save_and_wait(checkpoints, 1, states[1])


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    file = tmp_path / "run"
    file.write_text("")
    for path in (file, file / "checkpoints"):
        with pytest.raises(UserError, match=f"cannot use {path} for checkpoints: (File exists|Not a directory)"):
            Checkpoints(path, KeepPolicy())


@pytest.mark.parametrize("error", [MemoryError("no room"), ValueError("RESOURCE_EXHAUSTED: Out of memory")])
def test_a_lack_of_memory_is_no_damage(
    directory: Path, states: tuple[TrainState, TrainState], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def restore(*_: object, **__: object) -> None:
        raise error

    with Checkpoints(directory, KeepPolicy()) as checkpoints:
        steps = checkpoints.steps
        monkeypatch.setattr(checkpoints._manager, "restore", restore)
        with pytest.raises(UserError, match="not enough memory"):
            checkpoints.restore_newest(states[0], position(0))
        with pytest.raises(UserError, match="not enough memory"):
            checkpoints.restore_parameters(states[0]["parameters"])
        assert checkpoints.steps == steps
    assert not list(directory.glob("*corrupt*"))


def test_steps_and_shapes_are_found_without_reading_arrays(
    directory: Path, states: tuple[TrainState, TrainState]
) -> None:
    shapes = shapes_by_name(states[0]["parameters"])
    assert shapes["layers/mlp/up"] == (2, 16, 32)
    with Checkpoints(directory) as checkpoints:
        assert checkpoints.find_parameters() == (3, shapes)
        assert checkpoints.find_parameters(2) == (2, shapes)
        with pytest.raises(UserError, match=r"has no checkpoint of step 4; there are: \[1, 2, 3\]"):
            checkpoints.find_parameters(4)
    for path in (directory / "3" / "parameters").glob("*"):
        path.write_bytes(b"") if path.is_file() else shutil.rmtree(path)
    with Checkpoints(directory) as checkpoints:
        assert checkpoints.find_parameters() == (2, shapes)
        with pytest.raises(UserError, match="is intact; tried 3"):
            checkpoints.find_parameters(3)
    with (
        Checkpoints(directory / "none", KeepPolicy()) as checkpoints,
        pytest.raises(UserError, match="has no checkpoint; there are: none"),
    ):
        checkpoints.find_parameters()
