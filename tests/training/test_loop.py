"""The loop: stopping and going on as if nothing had been, what is logged, and what stops a run."""

import logging
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from m5jax.errors import UserError
from m5jax.models import Parameters
from m5jax.training.checkpoints import Checkpoints
from m5jax.training.interruption import TrainingInterrupted
from m5jax.training.keep_policy import KeepPolicy
from m5jax.training.loop import TrainerConfig, train
from m5jax.training.run_log import read_metrics
from m5jax.training.state import TrainState, abstract_state
from partitioning import PartitioningError
from tests.training.tiny import OPTIMIZER, TinyBatches, assert_same, encoder, host_batch, one_device, training


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Every run here compiles the same step; a cache on disk makes that one compilation."""
    names = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in names.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def final_state(run_dir: Path, step: int) -> tuple[TrainState, int]:
    """Returns the state of the newest checkpoint, which is of `step`, and the position of its input."""
    model = encoder(dropout_rate=0.1)
    abstract = abstract_state(model, OPTIMIZER.make(model.logical_axes, model.width_multiple), one_device())
    batches = TinyBatches()
    with Checkpoints(run_dir / "checkpoints") as checkpoints:
        assert checkpoints.steps[-1] == step
        state = checkpoints.restore_newest(abstract, batches)
    assert state is not None
    return state, batches.index


def history(run_dir: Path) -> list[tuple[int, str, float]]:
    """Returns (step, name, value) of all that does not depend on the clock, in the order written."""
    return [
        (row["step"], name, value)
        for row in read_metrics(run_dir)
        for name, value in row.items()
        if name not in ("step", "time") and not name.startswith("speed/")
    ]


def at_batch(index: int, act: Callable[[], None]) -> Callable[[int], None]:
    return lambda current: act() if current == index else None


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 40 steps in one go."""
    run_dir = tmp_path_factory.mktemp("straight")
    result = train(training(run_dir, 40, evaluate_every=10))
    assert result.step == 40
    assert result.tokens_per_second > 0
    assert result.model_flop_utilization is None  # nobody states the peak of a CPU
    return run_dir


def test_a_straight_run_logs_each_step_and_evaluation_once(straight: Path) -> None:
    written = Counter((step, name) for step, name, _ in history(straight))
    assert set(written.values()) == {1}
    assert [step for step, name in written if name == "train/loss"] == list(range(1, 41))
    assert [step for step, name in written if name == "evaluation/en/loss"] == [10, 20, 30, 40]
    rates = {step: value for step, name, value in history(straight) if name == "train/learning_rate"}
    assert rates[1] == 0.0  # of the update that made step 1
    assert rates[6] == pytest.approx(3e-3)
    assert final_state(straight, 40)[1] == 40
    losses = [value for _, name, value in history(straight) if name == "train/loss"]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


@pytest.mark.parametrize("step", [23, 30])  # an evaluation is due at the other one
def test_stopped_and_resumed_is_the_same_run(step: int, straight: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingInterrupted, match=f"interrupted at step {step}") as interruption:
        train(training(tmp_path, 40, evaluate_every=10, batches=TinyBatches(at_batch(step, terminate))))
    assert interruption.value.step == step
    assert final_state(tmp_path, step)[1] == step
    result = train(training(tmp_path, 40, evaluate_every=10))
    assert result.step == 40
    assert_same(final_state(tmp_path, 40), final_state(straight, 40))
    assert history(tmp_path) == history(straight)


def test_a_stop_keeps_the_evaluation_that_its_checkpoint_is_chosen_by(tmp_path: Path) -> None:
    keep = KeepPolicy(last=1, best="evaluation/en/loss", largest=False)
    values = iter((2.0, 1.0))
    run = training(
        tmp_path,
        40,
        evaluate_every=10,
        keep=keep,
        batches=TinyBatches(at_batch(20, terminate)),
        evaluate=lambda parameters: {"evaluation/en/loss": next(values)},
    )
    with pytest.raises(TrainingInterrupted, match="interrupted at step 20"):
        train(run)
    with Checkpoints(tmp_path / "checkpoints", keep) as checkpoints:
        assert checkpoints.best() == (20, {"evaluation/en/loss": 1.0})
    assert evaluations(tmp_path) == {10: 2.0, 20: 1.0}


def test_killed_and_resumed_is_the_same_run(straight: Path, tmp_path: Path) -> None:
    """A kill loses what came after the last checkpoint, on disk and in the log, and it is done again."""

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    with pytest.raises(Killed):
        train(training(tmp_path, 40, evaluate_every=10, batches=TinyBatches(at_batch(26, kill))))
    assert max(row["step"] for row in read_metrics(tmp_path)) > 20
    train(training(tmp_path, 40, evaluate_every=10))
    assert_same(final_state(tmp_path, 40), final_state(straight, 40))
    assert history(tmp_path) == history(straight)


def test_a_run_that_is_prolonged_goes_on(straight: Path, tmp_path: Path) -> None:
    assert train(training(tmp_path, 20, evaluate_every=10)).step == 20
    assert train(training(tmp_path, 40, evaluate_every=10)).step == 40
    assert_same(final_state(tmp_path, 40), final_state(straight, 40))
    assert history(tmp_path) == history(straight)


def newest_parameters(run_dir: Path) -> Callable[[Parameters], Parameters]:
    """Returns a run's start: the parameters of another run's newest checkpoint."""

    def initial(abstract: Parameters) -> Parameters:
        with Checkpoints(run_dir / "checkpoints") as checkpoints:
            return checkpoints.restore_parameters(abstract)[1]

    return initial


def evaluations(run_dir: Path) -> dict[int, float]:
    return {step: value for step, name, value in history(run_dir) if name == "evaluation/en/loss"}


def test_a_run_begins_where_another_ended_with_a_warm_up_of_its_own(straight: Path, tmp_path: Path) -> None:
    run = training(tmp_path, 2, initial=newest_parameters(straight), checkpoint_every=1)
    train(run)
    assert evaluations(tmp_path)[0] == evaluations(straight)[40]
    rates = [value for _, name, value in history(tmp_path) if name == "train/learning_rate"]
    assert rates == [0.0, pytest.approx(3e-3 / 5)]
    # The first update has a rate of 0, and an optimizer that has seen nothing.
    (tmp_path / "checkpoints" / "2").rename(tmp_path / "2")
    state, index = final_state(tmp_path, 1)
    assert index == 1
    assert_same(state["parameters"], final_state(straight, 40)[0]["parameters"])
    adam = next(node for node in jax.tree.leaves(state["optimizer"], is_leaf=is_adam) if is_adam(node))
    assert int(adam.count) == 1


def is_adam(node: Any) -> bool:
    return hasattr(node, "mu")


def test_a_run_that_began_with_another_needs_it_no_more(straight: Path, tmp_path: Path) -> None:
    start = newest_parameters(straight)
    train(training(tmp_path / "whole", 25, initial=start, evaluate_every=5))

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    def gone(abstract: Parameters) -> Parameters:
        raise AssertionError("the first run was asked for")

    for index, initial in ((7, start), (16, start), (22, gone)):  # the first before there is a checkpoint
        batches = TinyBatches(at_batch(index, kill))
        with pytest.raises(Killed):
            train(training(tmp_path / "run", 25, initial=initial, evaluate_every=5, batches=batches))
    train(training(tmp_path / "run", 25, initial=gone, evaluate_every=5))
    assert_same(final_state(tmp_path / "run", 25), final_state(tmp_path / "whole", 25))
    assert history(tmp_path / "run") == history(tmp_path / "whole")
    assert list(evaluations(tmp_path / "run")) == [0, 5, 10, 15, 20, 25]


def test_a_finished_run_trains_no_more(tmp_path: Path) -> None:
    first = train(training(tmp_path, 3))
    before, state = history(tmp_path), final_state(tmp_path, 3)

    def fail() -> None:
        raise AssertionError("a batch was taken")

    again = train(training(tmp_path, 3, batches=TinyBatches(lambda index: fail())))
    assert (again.step, again.evaluation) == (3, first.evaluation)
    assert again.tokens_per_second is None
    assert history(tmp_path) == before
    assert_same(final_state(tmp_path, 3), state)


def test_means_over_intervals_lose_no_step(straight: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingInterrupted):
        train(training(tmp_path, 25, log_every=10, batches=TinyBatches(at_batch(13, terminate))))
    train(training(tmp_path, 25, log_every=10))
    each = {step: value for step, name, value in history(straight) if name == "train/loss"}
    weights = {step: float(host_batch(step)["loss_weights"].sum()) for step in each}
    logged = [(step, value) for step, name, value in history(tmp_path) if name == "train/loss"]
    assert [step for step, _ in logged] == [10, 13, 20, 25]
    for (step, value), first in zip(logged, (1, 11, 14, 21), strict=True):
        steps = range(first, step + 1)
        mean = sum(each[step] * weights[step] for step in steps) / sum(weights[step] for step in steps)
        assert value == pytest.approx(mean, rel=1e-5)


def test_a_second_signal_acts_as_usual(tmp_path: Path) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(training(tmp_path, 5, batches=TinyBatches(at_batch(2, twice))))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers


def test_a_signal_in_the_last_step_ends_the_run_as_usual(tmp_path: Path) -> None:
    result = train(training(tmp_path, 3, batches=TinyBatches(at_batch(3, terminate))))
    assert (result.step, list(result.evaluation)) == (3, ["evaluation/en/loss"])
    assert final_state(tmp_path, 3)[1] == 3


def poisoned(index: int) -> dict[str, np.ndarray]:
    batch = host_batch(index)
    return batch | {"loss_weights": batch["loss_weights"] * (np.nan if index >= 12 else 1)}


@pytest.mark.parametrize("log_every", [1, 4, 7, 100])
@pytest.mark.parametrize("checkpoint_every", [4, 6])
def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_good_checkpoints(
    log_every: int, checkpoint_every: int, tmp_path: Path
) -> None:
    batches = TinyBatches(make=poisoned)
    run = training(tmp_path, 40, log_every=log_every, checkpoint_every=checkpoint_every, batches=batches)
    with pytest.raises(UserError, match=r"the loss is nan at step \d+; lower the learning rate"):
        train(run)
    last_good = 11 // checkpoint_every * checkpoint_every
    state, index = final_state(tmp_path, last_good)
    assert index == last_good
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(state["parameters"])))


@pytest.mark.parametrize("due", ["evaluate_every", "checkpoint_every"])
def test_a_loss_that_is_not_finite_is_logged_before_its_interval_ends(due: str, tmp_path: Path) -> None:
    every = {"evaluate_every": 0, "checkpoint_every": 0, due: 6}
    with pytest.raises(UserError, match="the loss is nan at step 12"):
        train(training(tmp_path, 40, log_every=100, batches=TinyBatches(make=poisoned), **every))
    losses = {step: value for step, name, value in history(tmp_path) if name == "train/loss"}
    assert list(losses) == [12]
    assert np.isnan(losses[12])
    assert list(evaluations(tmp_path)) == ([6] if due == "evaluate_every" else [])


def test_a_damaged_checkpoint_costs_its_steps_and_no_more(
    straight: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(training(tmp_path, 20, evaluate_every=10))
    (tmp_path / "checkpoints" / "20" / "parameters" / "manifest.ocdbt").write_bytes(b"")
    with caplog.at_level(logging.INFO):
        train(training(tmp_path, 40, evaluate_every=10))
    assert "not intact" in caplog.text
    assert f"resuming {tmp_path} at step 10" in caplog.text
    assert_same(final_state(tmp_path, 40), final_state(straight, 40))
    assert history(tmp_path) == history(straight)


def test_bad_settings_stop_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(PartitioningError, match="batch of 8 examples is not divisible by 3"):
        train(training(tmp_path / "run", 5, accumulation=3))
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="TrainerConfig.log_every = 0; allowed: 1 and above"):
        TrainerConfig(steps=1, log_every=0)
    with pytest.raises(UserError, match="TrainerConfig.steps = 0"):
        TrainerConfig(steps=0)
