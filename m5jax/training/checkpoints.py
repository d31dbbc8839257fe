"""Checkpoints of a run: Orbax, asynchronous, restorable onto any mesh.

Layout of `checkpoints/STEP/`: `parameters` (so that inference reads nothing else), `training` (step, optimizer, random
key) and `data` (the position of each process's input).
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from m5jax.errors import UserError, first_line
from m5jax.training.input_position import Position, PositionArgs, PositionHandler, restore_position
from m5jax.training.keep_policy import KeepPolicy
from m5jax.training.state import TrainState

logger = logging.getLogger(__name__)

FOLDER = "checkpoints"  # of a run directory


class Checkpoints:
    """The checkpoints of one run directory. Use as a context manager: leaving waits for writes under way.

    Args:
      directory: of the checkpoints.
      keep: which stay; None only reads.

    Raises:
      UserError: the directory cannot be made or read.
    """

    def __init__(self, directory: Path, keep: KeepPolicy | None = None):
        self.directory = directory.absolute()
        self._best = keep if keep is not None and keep.best else None
        best: dict[str, Any] = {}
        if self._best is not None:
            best = {"best_fn": self._best.value, "best_mode": "max" if self._best.largest else "min"}
        try:
            if keep is not None:
                self.directory.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(
                self.directory,
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=(keep or KeepPolicy()).to_orbax(),
                    create=False,
                    cleanup_tmp_directories=keep is not None,
                    **best,
                ),
                handler_registry=_handlers(),
            )
        except OSError as error:
            reason = error.strerror or first_line(error)
            raise UserError(f"cannot use {self.directory} for checkpoints: {reason}") from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._writing():
                self._manager.close()
        except UserError as error:
            if kind is None:
                raise
            logger.warning("%s", error)  # and the error under way goes on

    @property
    def steps(self) -> list[int]:
        """The steps of all checkpoints whose writing ended, intact or not."""
        return sorted(self._manager.all_steps())

    def best(self) -> tuple[int, dict[str, float]]:
        """Returns step and metrics of the best checkpoint.

        Raises:
          UserError: none has metrics.
        """
        step = self._manager.best_step()
        metrics = None if step is None else self._manager.metrics(step)
        if step is None or metrics is None:
            raise UserError(f"no checkpoint in {self.directory} has metrics by which the best could be chosen")
        return step, dict(metrics)

    def save(
        self, step: int, state: TrainState, position: Position, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Starts writing a checkpoint, with the metrics that `KeepPolicy.best` is of; returns as soon as the arrays may
        be donated.

        Raises:
          UserError: it cannot be written (also for a write begun earlier that failed meanwhile), or the metric is
            none of `metrics`.
        """
        if self._best is None:
            metrics = None
        elif metrics is not None:
            self._best.value(metrics)
        training = {name: state[name] for name in ("step", "optimizer", "rng")}  # type: ignore[literal-required]
        items = ocp.args.Composite(
            parameters=ocp.args.StandardSave(state["parameters"]),
            training=ocp.args.StandardSave(training),
            data=PositionArgs(position),
        )
        with self._writing():
            self._manager.save(step, args=items, force=True, metrics=metrics)

    def wait(self) -> None:
        """Returns when all checkpoints are on disk; raises UserError if one could not be written."""
        with self._writing():
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def restore_newest(self, abstract: TrainState, position: Position) -> TrainState | None:
        """Returns the newest intact checkpoint's state, laid out as `abstract`, and moves `position`.

        None where there is no checkpoint yet. Newer ones that cannot be read are renamed to `STEP.corrupt`, and said.

        Raises:
          UserError: there are checkpoints, but none is intact; or one is of another model, optimizer, input or number
            of processes.
        """
        damaged: list[int] = []
        for step in reversed(self.steps):
            state = self._restore_if_intact(step, abstract, position)
            if state is not None:
                for other in damaged:
                    self._set_aside(other)
                return state
            damaged.append(step)
        if damaged:
            raise UserError(
                f"none of the checkpoints {sorted(damaged)} in {self.directory} is intact; "
                "restore them from a copy, or begin in another run directory"
            )
        return None

    def restore_parameters(self, abstract_parameters: Any, step: int | None = None) -> tuple[int, Any]:
        """Returns (step, parameters) of `step` or of the newest intact checkpoint, without optimizer and data.

        Raises:
          UserError: there is no such checkpoint, none is intact, or it is of another model.
        """
        for candidate in self._candidates(step):
            try:
                arguments = ocp.args.Composite(parameters=ocp.args.StandardRestore(abstract_parameters))
                return candidate, self._manager.restore(candidate, args=arguments)["parameters"]
            except Exception as error:
                _raise_if_out_of_memory(error)
                self._check_parameters(candidate, abstract_parameters)
                logger.warning("checkpoint %s is not intact (%s)", self.directory / str(candidate), first_line(error))
        raise UserError(f"no checkpoint that could be used in {self.directory} is intact; tried {step or self.steps}")

    def find_parameters(self, step: int | None = None) -> tuple[int, dict[str, tuple[int, ...]]]:
        """Returns `step`, or the newest step, and the shape of each of its parameters by name; no array is read.

        Raises:
          UserError: there is no such checkpoint, or what is known of it cannot be read.
        """
        for candidate in self._candidates(step):
            if shapes := shapes_by_name(self._metadata(candidate, "parameters")):
                return candidate, shapes
        raise UserError(f"no checkpoint that could be used in {self.directory} is intact; tried {step or self.steps}")

    def _candidates(self, step: int | None) -> list[int]:
        """Returns the steps to try, the newest first; raises UserError where there is none."""
        steps = self.steps
        if not steps or (step is not None and step not in steps):
            wanted = "" if step is None else f" of step {step}"
            raise UserError(f"{self.directory} has no checkpoint{wanted}; there are: {steps or 'none'}")
        return steps[::-1] if step is None else [step]

    def _restore_if_intact(self, step: int, abstract: TrainState, position: Position) -> TrainState | None:
        training = {name: abstract[name] for name in ("step", "optimizer", "rng")}  # type: ignore[literal-required]
        restored = None
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    parameters=ocp.args.StandardRestore(abstract["parameters"]),
                    training=ocp.args.StandardRestore(training),
                ),
            )
            # After the arrays, so that the input moves only where they are intact.
            restore_position(self.directory / str(step) / "data", position)
        except UserError:
            raise
        except Exception as error:  # Orbax names no types: whatever stops it from reading
            _raise_if_out_of_memory(error)
            if restored is None:
                self._check_parameters(step, abstract["parameters"])
                self._check_optimizer(step, abstract["optimizer"])
            logger.warning("checkpoint %s is not intact (%s)", self.directory / str(step), first_line(error))
            restored = None
        if not _all_agree(restored is not None) or restored is None:
            return None
        stored = restored["training"]
        return TrainState(
            step=stored["step"], parameters=restored["parameters"], optimizer=stored["optimizer"], rng=stored["rng"]
        )

    def _check_parameters(self, step: int, abstract_parameters: Any) -> None:
        """Raises UserError if the parameters of a checkpoint that could not be restored are others than the model's."""
        stored, expected = shapes_by_name(self._metadata(step, "parameters")), shapes_by_name(abstract_parameters)
        if not stored:
            return
        for name in sorted(stored.keys() | expected.keys()):
            if stored.get(name) != expected.get(name):
                raise UserError(
                    f"checkpoint {self.directory / str(step)} is of another model: {name} is "
                    f"{stored.get(name, 'missing')} there, {expected.get(name, 'missing')} in the configured model"
                )

    def _check_optimizer(self, step: int, abstract_optimizer: Any) -> None:
        stored = shapes_by_name((self._metadata(step, "training") or {}).get("optimizer"))
        # Names of fields are not kept in one way for all containers; the shapes tell optimizers apart.
        if stored and sorted(stored.values()) != sorted(shapes_by_name(abstract_optimizer).values()):
            raise UserError(f"checkpoint {self.directory / str(step)} is of another optimizer than the configured one")

    def _metadata(self, step: int, item: str) -> Any:
        """Returns the tree of what a checkpoint's item holds; None where that cannot be read either."""
        try:
            return self._manager.item_metadata(step)[item].tree
        except Exception:  # as in `_restore_if_intact`
            return None

    def _set_aside(self, step: int) -> None:
        source = self.directory / str(step)
        target = self.directory / f"{step}.corrupt"
        number = 1
        while target.exists():
            number += 1
            target = self.directory / f"{step}.corrupt-{number}"
        logger.warning("checkpoint %s is not intact; renamed to %s", source, target.name)
        if jax.process_index() == 0:
            source.rename(target)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"set aside {step}")
        self._manager.reload()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except (OSError, ValueError) as error:
            # TensorStore's are a ValueError of a status, with the number of the operating system's error in the text.
            if not isinstance(error, OSError) and not re.match(r"[A-Z_]+: ", str(error)):
                raise
            code = re.search(r"os_error_code='(\d+)'", str(error))
            reason = os.strerror(int(code[1])) if code else getattr(error, "strerror", None) or first_line(error)
            raise UserError(f"cannot write a checkpoint to {self.directory}: {reason}") from error


def _raise_if_out_of_memory(error: Exception) -> None:
    """Raises UserError for an error that says nothing about the checkpoint, which another try may read."""
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        raise UserError(f"there is not enough memory to restore a checkpoint: {first_line(error)}") from error


def _all_agree(intact: bool) -> bool:
    """Returns whether what one process found holds for all of them."""
    if jax.process_count() == 1:
        return intact
    return bool(np.all(multihost_utils.process_allgather(np.array(intact))))


def shapes_by_name(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each array of a nested dict, by its path joined with slashes."""
    return {
        "/".join(str(getattr(key, "key", key)) for key in path): tuple(leaf.shape)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def _handlers() -> ocp.handlers.CheckpointHandlerRegistry:
    """Returns handlers known up front, so that a manager can restore before it has saved."""
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    standard = ocp.StandardCheckpointHandler()
    for item in ("parameters", "training"):
        registry.add(item, ocp.args.StandardSave, standard)
        registry.add(item, ocp.args.StandardRestore, standard)
    registry.add("data", PositionArgs, PositionHandler())
    return registry
