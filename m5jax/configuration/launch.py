"""From a described run to one that runs: tasks, vocabulary, mesh, input, model, then the trainer or the evaluator."""

import dataclasses
import datetime
import importlib
import json
import logging
import platform
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import gin
import jax

from m5jax.configuration.gin_files import parse_gin
from m5jax.configuration.run import Run
from m5jax.configuration.run_directory import CONFIG, VOCABULARY, keep_vocabulary, prepare_run_directory
from m5jax.data.packing import masked_budget
from m5jax.data.vocabulary import Vocabulary, set_current_vocabulary
from m5jax.errors import UserError
from m5jax.evaluation.report import write_report
from m5jax.evaluation.tables import LanguageResult, RunSummary, language_table, run_summary, write_summary
from m5jax.inference.embedder import Embedder
from m5jax.models import FunctionalModel
from m5jax.training.checkpoints import Checkpoints
from m5jax.training.loop import Training, TrainingResult, train
from partitioning import check_batch, make_mesh, tree_shardings

logger = logging.getLogger(__name__)

LIBRARIES = ("jax", "flax", "optax", "orbax-checkpoint", "seqio", "tensorflow", "sentencepiece", "m5jax")


def load_run(files: Sequence[str], overrides: Sequence[str] = ()) -> Run:
    """Returns the run that gin files and overrides describe; raises UserError where they do not describe one."""
    parse_gin(files, overrides)
    try:
        return gin.get_configurable("Run")()
    except (UserError, PartitioningError) as error:
        raise UserError(str(error).splitlines()[0]) from error  # gin adds lines on where it was called
    except TypeError as error:
        missing = re.match(r"(\w+)\.__init__\(\) missing .*?: (.*)", str(error))
        if not missing:
            raise
        raise UserError(f"{missing[1]} lacks a value for {missing[2]}: bind {missing[1]}.NAME in a gin file") from error


def load_run_directory(run_dir: Path) -> Run:
    """Returns the run whose directory this is; raises UserError if it is none."""
    config = run_dir / CONFIG
    if not config.is_file():
        raise UserError(f"{run_dir} is no run directory: it has no {CONFIG}")
    return dataclasses.replace(load_run([str(config)]), run_dir=str(run_dir), vocabulary=str(run_dir / VOCABULARY))


def import_task_modules(modules: Sequence[str]) -> None:
    """Imports the modules that register tasks; raises UserError for one that is not there."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not module.startswith(error.name):
                raise
            raise UserError(f"TASK_MODULES: no Python module {module!r}; it must be installed or on PYTHONPATH") from error


def train_run(run: Run) -> TrainingResult:
    """Trains or resumes the run and writes its summary and report."""
    started = _now()
    config = gin.operative_config_str(max_line_length=100)
    mesh = make_mesh(run.mesh)
    check_batch(mesh, run.data.batch_size, run.trainer.accumulation)
    import_task_modules(run.task_modules)
    vocabulary = _vocabulary(run)
    for change in prepare_run_directory(run.directory, config):
        logger.info("changed since this run began: %s", change)
    set_current_vocabulary(keep_vocabulary(run.directory, vocabulary))
    model = FunctionalModel.from_config(run.model)
    held_out = _held_out(run)
    shardings = {"parameters": tree_shardings(mesh, model.abstract_parameters, model.logical_axes)}
    return None
