"""Checkpoints of a run: Orbax, asynchronous, restorable onto any mesh.

Layout of `checkpoints/STEP/`: `parameters` (so that inference reads nothing else), `training` (step, optimizer, random
key) and `data` (the position of each process's input).
"""

import dataclasses
import logging
from pathlib import Path
from typing import Any, Protocol

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from m5jax.errors import UserError
from m5jax.training.state import TrainState

logger = logging.getLogger(__name__)


class Position(Protocol):
    """Input whose position can be written into a directory and read back."""

    def save(self, directory: Path) -> None: ...

    def restore(self, directory: Path) -> None: ...


@dataclasses.dataclass(frozen=True)
class KeepPolicy:
    """Which checkpoints stay: the newest `last`, and each whose step divides by `every` (0: none besides)."""

    last: int = 3
    every: int = 0

    def __post_init__(self) -> None:
        if self.last < 1 or self.every < 0:
            raise UserError(f"KeepPolicy: last = {self.last} must be 1 or more, every = {self.every} 0 or more")

    def to_orbax(self) -> preservation_policy.PreservationPolicy:
        policies: list[preservation_policy.PreservationPolicy] = [preservation_policy.LatestN(self.last)]
        if self.every:
            policies.append(preservation_policy.EveryNSteps(self.every))
        return preservation_policy.AnyPreservationPolicy(policies)


class PositionHandler(ocp.CheckpointHandler):
    """Writes each process's input position while the training thread waits, since the next batch would move it."""

    def save(self, directory: Any, args: "PositionArgs") -> None:
        args.position.save(_process_directory(directory))

    def restore(self, directory: Any, args: "PositionArgs") -> None:
        source = _process_directory(directory)
        if not source.exists():
            raise UserError(f"{directory} holds no input position for process {jax.process_index()}; resume on as many hosts")
        args.position.restore(source)


@ocp.args.register_with_handler(PositionHandler, for_save=True, for_restore=True)
@dataclasses.dataclass
class PositionArgs(ocp.args.CheckpointArgs):
    """The input to save or to move."""

    position: Position


def _process_directory(directory: Any) -> Path:
    return Path(directory) / f"process_{jax.process_index()}"


class Checkpoints:
    """The checkpoints of one run directory. Use as a context manager: leaving waits for writes under way."""

    def __init__(self, directory: Path, keep: KeepPolicy | None = None):
        self.directory = directory.absolute()
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=(keep or KeepPolicy()).to_orbax(),
                read_only=keep is None,
                create=keep is not None,
                cleanup_tmp_directories=keep is not None,
            ),
            handler_registry=_handlers(),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    @property
    def steps(self) -> list[int]:
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: TrainState, position: Position) -> None:
        """Starts writing a checkpoint; returns as soon as the arrays may be donated.

        Raises:
          UserError: it cannot be written (also for a write begun earlier that failed meanwhile).
        """
        training = {name: state[name] for name in ("step", "optimizer", "rng")}  # type: ignore[literal-required]
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    parameters=ocp.args.StandardSave(state["parameters"]),
                    training=ocp.args.StandardSave(training),
                    data=PositionArgs(position),
                ),
                force=True,
            )
        except OSError as error:
            raise self._write_error(error) from error

    def wait(self) -> None:
        """Returns when all checkpoints are on disk; raises UserError if one could not be written."""
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except OSError as error:
            raise self._write_error(error) from error

    def restore_newest(self, abstract: TrainState, position: Position) -> TrainState | None:
        """Returns the newest intact checkpoint's state laid out as `abstract`, and moves `position`; None if there is none.

        A checkpoint that cannot be read is renamed to `STEP.corrupt`, said, and the one before it is tried.
        """
        for step in reversed(self.steps):
            try:
                return self._restore(step, abstract, position)
            except UserError:
                raise
            except Exception as error:
                self._set_aside(step, error)
        return None

    def restore_parameters(self, abstract_parameters: Any, step: int | None = None) -> tuple[int, Any]:
        """Returns (step, parameters) of `step` or of the newest intact checkpoint, without optimizer and data.

        Raises:
          UserError: there is no such checkpoint, or none is intact.
        """
        if step is not None and step not in self.steps:
            raise UserError(f"{self.directory} has no checkpoint of step {step}; there are: {self.steps}")
        for candidate in reversed(self.steps) if step is None else [step]:
            try:
                arguments = ocp.args.Composite(parameters=ocp.args.StandardRestore(abstract_parameters))
                return candidate, self._manager.restore(candidate, args=arguments)["parameters"]
            except Exception as error:
                logger.warning("checkpoint %d of %s is not intact (%s)", candidate, self.directory, _first_line(error))
        raise UserError(f"{self.directory} holds no intact checkpoint")

    def _restore(self, step: int, abstract: TrainState, position: Position) -> TrainState:
        training = {name: abstract[name] for name in ("step", "optimizer", "rng")}  # type: ignore[literal-required]
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                parameters=ocp.args.StandardRestore(abstract["parameters"]),
                training=ocp.args.StandardRestore(training),
                data=PositionArgs(position),
            ),
        )
        return TrainState(parameters=restored["parameters"], **restored["training"])

    def _set_aside(self, step: int, error: Exception) -> None:
        source = self.directory / str(step)
        target = self.directory / f"{step}.corrupt"
        number = 1
        while target.exists():
            number += 1
            target = self.directory / f"{step}.corrupt-{number}"
        logger.warning("checkpoint %s is not intact (%s); renamed to %s", source, _first_line(error), target.name)
        if jax.process_index() == 0:
            source.rename(target)
        self._manager.reload()

    def _write_error(self, error: OSError) -> UserError:
        return UserError(f"cannot write a checkpoint to {self.directory}: {error.strerror or _first_line(error)}")


def _handlers() -> ocp.handlers.CheckpointHandlerRegistry:
    """Returns handlers known up front, so that a manager can restore before it has saved."""
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    standard = ocp.StandardCheckpointHandler()
    for item in ("parameters", "training"):
        registry.add(item, ocp.args.StandardSave, standard)
        registry.add(item, ocp.args.StandardRestore, standard)
    registry.add("data", PositionArgs, PositionHandler())
    return registry


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:200]
