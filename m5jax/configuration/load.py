"""Runs and preparations, loaded: from gin files, or from the directory of a run that was trained."""

import dataclasses
import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gin
from jax.sharding import Mesh

from m5jax.configuration.gin_files import parse_gin
from m5jax.configuration.run import Run
from m5jax.configuration.run_files import CONFIG, VOCABULARY
from m5jax.data.load_tensorflow import load_tensorflow
from m5jax.data.preparation.settings import Preparation
from m5jax.errors import UserError
from m5jax.models import FunctionalModel, Parameters
from m5jax.training.checkpoints import FOLDER, Checkpoints
from partitioning import MeshConfig, PartitioningError, make_mesh, tree_shapes


def load_run(files: Sequence[str], overrides: Sequence[str] = ()) -> Run:
    """Returns the run that gin files and overrides describe; raises UserError where they do not describe one."""
    return load(files, overrides, "Run")


def load_preparation(files: Sequence[str], overrides: Sequence[str] = ()) -> Preparation:
    """Returns the preparation that gin files and overrides describe; raises UserError as `load_run`."""
    return load(files, overrides, "Preparation")


def load(files: Sequence[str], overrides: Sequence[str], root: str) -> Any:
    """Returns what gin files and overrides describe of the configurable `root`; raises UserError as `load_run`."""
    parse_gin(files, overrides, root)
    try:
        return gin.get_configurable(root)()
    except (UserError, PartitioningError) as error:
        raise UserError(str(error).splitlines()[0]) from error  # gin adds lines on where it was called
    except TypeError as error:
        missing = re.match(r"(\w+)\.__init__\(\) missing .*?: (.*)", str(error))
        if not missing:
            raise
        raise UserError(f"{missing[1]} lacks a value for {missing[2]}: bind {missing[1]}.NAME in a gin file") from error


def load_run_directory(run_dir: Path) -> Run:
    """Returns the run whose directory this is, with its own vocabulary; raises UserError if it is none."""
    config = run_dir / CONFIG
    if not config.is_file():
        raise UserError(f"{run_dir} is no run directory: it has no {CONFIG}")
    return dataclasses.replace(load_run([str(config)]), run_dir=str(run_dir), vocabulary=str(run_dir / VOCABULARY))


def import_task_modules(modules: Sequence[str]) -> None:
    """Imports the modules that register tasks; raises UserError for one that is not there."""
    load_tensorflow()
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise UserError(f"TASK_MODULES: {module!r} is no module's name; one is such as my_tasks or my.tasks")
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not module.startswith(error.name):
                raise
            raise UserError(
                f"TASK_MODULES: no Python module {module!r}; it must be installed or on PYTHONPATH"
            ) from error


def check_model(run: Run, *configs: type) -> None:
    """Raises UserError where a run's model is of another kind."""
    if not isinstance(run.model, configs):
        allowed = " or ".join(config.__name__ for config in configs)
        raise UserError(f"the model of {run.directory} is of {type(run.model).__name__}; allowed: runs of {allowed}")


def restore_run(run: Run, step: int | None = None) -> tuple[int, FunctionalModel, Parameters, Mesh]:
    """Returns a run's checkpoint of `step`, None: the newest intact one, on a mesh of the devices that are here.

    Raises:
        UserError: there is no such checkpoint.
    """
    model = FunctionalModel.from_config(run.model)
    mesh = make_mesh(MeshConfig())  # not as where it was trained
    with Checkpoints(run.directory / FOLDER) as checkpoints:
        abstract = tree_shapes(mesh, model.abstract_parameters, model.logical_axes)
        restored, parameters = checkpoints.restore_parameters(abstract, step)
    return restored, model, parameters, mesh
