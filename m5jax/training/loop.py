"""The training loop: resume, step, log, evaluate, checkpoint, stop."""

import dataclasses
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from m5jax.errors import UserError, check_least
from m5jax.models import FunctionalModel, Parameters
from m5jax.objectives import Objective
from m5jax.training.checkpoints import FOLDER, Checkpoints
from m5jax.training.fine_tuned_part import ScaledOptimizer
from m5jax.training.interruption import InterruptionGuard, TrainingInterrupted
from m5jax.training.keep_policy import KeepPolicy
from m5jax.training.metrics import Interval, MetricWindow, count_tokens
from m5jax.training.optimizers import Optimizer
from m5jax.training.progress import ProgressBar
from m5jax.training.run_log import FINITE, RunLog
from m5jax.training.state import InitialParameters, TrainState, abstract_state, init_state, place_given
from m5jax.training.step import jit_train_step, make_train_step
from partitioning import batch_share, check_batch, global_batch, peak_flops

logger = logging.getLogger(__name__)

HostBatch = dict[str, np.ndarray]
Evaluate = Callable[[Parameters], dict[str, float]]


class Batches(Protocol):
    """This process's share of the input: batches of equal shapes, with a position that can be saved."""

    of_all_processes: bool

    @property
    def fingerprint(self) -> str:
        """Tells this input from others; the same in all processes that share it."""
        ...

    def __iter__(self) -> Iterator[HostBatch]: ...

    def __next__(self) -> HostBatch: ...

    def save(self, directory: Path) -> None: ...

    def restore(self, directory: Path) -> None: ...


@dataclasses.dataclass(frozen=True)
class TrainerConfig:
    """How long and how often.

    Attributes:
      steps: optimizer steps of the run.
      seed: of initialization and dropout.
      accumulation: parts each batch is computed in.
      log_every: steps a line in `metrics.jsonl`.
      evaluate_every: steps between evaluations; 0: only at the end.
      checkpoint_every: steps between checkpoints; 0: only at the end.
      keep: which checkpoints stay.
    """

    steps: int
    seed: int = 0
    accumulation: int = 1
    log_every: int = 10
    evaluate_every: int = 0
    checkpoint_every: int = 1000
    keep: KeepPolicy = dataclasses.field(default_factory=KeepPolicy)

    def __post_init__(self) -> None:
        check_least(self, steps=1, accumulation=1, log_every=1, evaluate_every=0, checkpoint_every=0)


@dataclasses.dataclass(frozen=True)
class Training:
    """Everything a run is made of; see `train`.

    Attributes:
      run_dir: where checkpoints, metrics and event files go.
      batches: endless input of this process, `batch_size` rows over all processes.
      evaluate: parameters in, values by name out (`evaluation/LANGUAGE/loss`, ...).
      flops_per_token: of forward and backward, for the model's FLOP utilization.
      flops_per_row: of forward and backward, padding included, for what the run costs; None: it is not known.
      initial: called where there is no checkpoint yet; the arrays that it returns are taken over, in place of drawn
        ones, and the first evaluation is of step 0.
      refresh: changes what `batches` give, by the parameters that there are: called with the number of the refresh and
        these, before the first step and every `refresh_every` steps; what it returns is logged. None: nothing does.
      inspect: is given the parameters at the end of the run.
    """

    run_dir: Path
    model: FunctionalModel
    objective: Objective
    optimizer: Optimizer | ScaledOptimizer
    mesh: Mesh
    config: TrainerConfig
    batches: Batches
    batch_size: int
    evaluate: Evaluate
    flops_per_token: float
    flops_per_row: float | None = None
    initial: InitialParameters | None = None
    refresh: Callable[[int, Parameters], dict[str, float]] | None = None
    refresh_every: int = 0
    inspect: Callable[[Parameters], None] | None = None


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """How a run ended: last step, its evaluation, and the median speed over the intervals it logged, of
    all processes together; None where nothing was left to train."""

    step: int
    evaluation: dict[str, float]
    tokens_per_second: float | None
    model_flop_utilization: float | None


def train(training: Training) -> TrainingResult:
    """Trains to `config.steps`, resuming from the newest intact checkpoint in the run directory.

    Raises:
      TrainingInterrupted: SIGTERM or SIGINT came; a checkpoint was saved.
      UserError: a checkpoint cannot be read or written, or the loss is not finite.
      PartitioningError: the batch does not fit the mesh.
    """
    check_batch(training.mesh, training.batch_size, training.config.accumulation)
    transformation = _transformation(training)
    abstract = abstract_state(training.model, transformation, training.mesh)
    with ExitStack() as stack:
        stack.enter_context(jax.set_mesh(training.mesh))
        checkpoints = stack.enter_context(Checkpoints(training.run_dir / FOLDER, training.config.keep))
        state = checkpoints.restore_newest(abstract, training.batches)
        if state is None:
            state = _fresh_state(training, transformation, abstract)
        first = int(state["step"])
        if first:
            logger.info("resuming %s at step %d", training.run_dir, first)
        log, progress = None, None
        if jax.process_index() == 0:  # one process a run writes and draws
            log = stack.enter_context(RunLog(training.run_dir, resume_step=first))
            progress = stack.enter_context(ProgressBar(training.config.steps, first))
        guard = stack.enter_context(InterruptionGuard())
        return _Loop(training, transformation, abstract, checkpoints, log, progress, guard).run(state)


def _transformation(training: Training) -> optax.GradientTransformation:
    model = training.model
    return training.optimizer.make(model.trained_part(model.logical_axes), model.width_multiple)


def _fresh_state(training: Training, transformation: optax.GradientTransformation, abstract: TrainState) -> TrainState:
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    given = {} if training.initial is None else training.initial(abstract["parameters"])

    def init(key: Any, given: Parameters) -> TrainState:
        return init_state(training.model, transformation, key, given)

    # Donated, so that there are never two copies.
    started = jax.jit(init, out_shardings=shardings, donate_argnums=1)
    return started(jax.random.key(training.config.seed), place_given(given, abstract["parameters"]))


class _Loop:
    """The parts of a run in motion."""

    def __init__(
        self,
        training: Training,
        transformation: optax.GradientTransformation,
        abstract: TrainState,
        checkpoints: Checkpoints,
        log: RunLog | None,
        progress: ProgressBar | None,
        guard: InterruptionGuard,
    ):
        self.training = training
        self.checkpoints = checkpoints
        self.log = log
        self.progress = progress
        self.guard = guard
        self.learning_rate = training.optimizer.schedule.make()
        self.speeds: list[float] = []
        self.shares = batch_share(training.mesh).count
        self.window = MetricWindow(training.config.log_every, self._report)
        shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
        step = make_train_step(training.model, training.objective, transformation, training.config.accumulation)
        self.train_step = jit_train_step(step, shardings, training.mesh)

    def run(self, state: TrainState) -> TrainingResult:
        config = self.training.config
        first = int(state["step"])
        evaluation: dict[str, float] | None = None
        if first == 0 and self.training.initial is not None:
            self._evaluate(0, state)
        for step in range(first + 1, config.steps + 1):
            if self.training.refresh is not None and (step - 1) % self.training.refresh_every == 0:
                self._refresh(step - 1, state)
            batch = next(self.training.batches)
            arrays = global_batch(self.training.mesh, batch)
            if step == first + 1:
                with self.window.paused():
                    self.train_step.lower(state, arrays).compile()
            state, metrics = self.train_step(state, arrays)
            self.window.add(step, metrics, count_tokens(batch) * self.shares)
            last, stop = step == config.steps, self.guard.stop_after(step)
            if last or stop:
                self.window.flush()
            # Before saving, so that the log of a checkpoint's step is whole when a run goes on from it; a run that is
            # to stop has little time, and is saved first unless its checkpoints are chosen by what they measure.
            evaluation, due = None, _due(step, config.evaluate_every)
            if last or (due and (not stop or config.keep.best)):
                evaluation = self._evaluate(step, state)
            if last or stop or _due(step, config.checkpoint_every):
                self._save(step, state, evaluation)
            if stop and not last:
                self.checkpoints.wait()
                if due and evaluation is None:
                    self._evaluate(step, state)
                raise TrainingInterrupted(step)
        self.checkpoints.wait()
        if evaluation is None:  # nothing was left to train, and the log holds it already
            evaluation = self.training.evaluate(state["parameters"])
        if self.training.inspect is not None:
            self.training.inspect(state["parameters"])
        speed = float(np.median(self.speeds)) if self.speeds else None
        return TrainingResult(int(state["step"]), evaluation, speed, self._utilization(speed))

    def _refresh(self, step: int, state: TrainState) -> None:
        assert self.training.refresh is not None
        with self.window.paused():
            values = self.training.refresh(step // self.training.refresh_every, state["parameters"])
        if self.log is not None:
            self.log.write(step, values)

    def _report(self, interval: Interval) -> None:
        speed = interval.tokens / max(interval.seconds, 1e-9)
        self.speeds.append(speed)
        utilization = self._utilization(speed)
        values = {f"train/{name}": value for name, value in interval.metrics.items()}
        values |= {f"mixture/{task}": share for task, share in interval.shares.items()}
        values["train/learning_rate"] = float(self.learning_rate(interval.step - 1))
        values["speed/tokens_per_second"] = speed
        values["speed/seconds_per_step"] = interval.seconds / interval.steps
        if utilization is not None:
            values["speed/model_flop_utilization"] = utilization
        if self.log is not None:
            self.log.write(interval.step, values)
        if self.progress is not None:
            self.progress.update(interval.step, interval.metrics["loss"], speed, utilization)
        _check_finite(interval.step, interval.metrics)

    def _utilization(self, tokens_per_second: float | None) -> float | None:
        peak = peak_flops(self.training.mesh.devices.flat[0])
        if peak is None or tokens_per_second is None:
            return None
        return self.training.flops_per_token * tokens_per_second / (peak * self.training.mesh.size)

    def _check_unreported(self) -> None:
        """Reports at once, which raises UserError, where the loss is no longer finite.

        Good checkpoints would give way to one that nothing can be got from.
        """
        with self.window.paused() as unreported:
            finite = all(math.isfinite(unreported.get(name, 0.0)) for name in FINITE)
        if not finite:
            self.window.flush()

    def _save(self, step: int, state: TrainState, evaluation: Mapping[str, float] | None) -> None:
        self._check_unreported()
        with self.window.paused():
            self.checkpoints.save(step, state, self.training.batches, evaluation)

    def _evaluate(self, step: int, state: TrainState) -> dict[str, float]:
        self._check_unreported()
        with self.window.paused():
            values = self.training.evaluate(state["parameters"])
        if self.log is not None:
            self.log.write(step, values)
        return values


def _check_finite(step: int, metrics: Mapping[str, float]) -> None:
    """Raises UserError if the loss or its gradient is not finite, and the parameters with it."""
    for name in FINITE:
        value = metrics.get(name, 0.0)
        if not math.isfinite(value):
            raise UserError(
                f"the {name.replace('_', ' ')} is {value} at step {step}; "
                "lower the learning rate or clip gradients, in another run directory"
            )


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
