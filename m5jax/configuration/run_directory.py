"""The run directory: made or resumed only with the config it was begun with."""

import shutil
from pathlib import Path

from m5jax.configuration.gin_files import read_bindings
from m5jax.errors import UserError

CONFIG = "config.gin"
VOCABULARY = "vocabulary/sentencepiece.model"
# What may differ when a run is resumed: how long, how often and where it runs, not what it computes.
MAY_CHANGE = ("TRAIN_STEPS", "RUN_DIR", "VOCABULARY", "TASK_MODULES")
MAY_CHANGE_OF_RUN = ("run_dir", "vocabulary", "task_modules")
MAY_CHANGE_WHOLLY = ("KeepPolicy", "MeshConfig")
MAY_CHANGE_OF_TRAINER = ("steps", "log_every", "evaluate_every", "checkpoint_every", "keep")


def prepare_run_directory(directory: Path, config: str) -> list[str]:
    """Makes the directory and writes `config` into it, or checks that it holds the same run's.

    Returns:
      What changed against the config there, of what may change; empty for a new run.

    Raises:
      UserError: the directory holds another run's config (the difference is named) or other files, or cannot be
        written.
    """
    path = directory / CONFIG
    try:
        if path.exists():
            changes = _changes(path, config)
        else:
            _refuse_foreign_files(directory)
            changes = []
        directory.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(config, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write the run directory {directory}: {error.strerror or error}") from error
    return changes


def keep_vocabulary(directory: Path, vocabulary: Path) -> Path:
    """Copies the vocabulary into the run directory unless it is there; returns the copy's path.

    Raises:
      UserError: the directory holds another vocabulary.
    """
    kept = directory / VOCABULARY
    if kept.exists():
        if kept.read_bytes() != vocabulary.read_bytes():
            raise UserError(f"{kept} is not the vocabulary {vocabulary} that is configured; use another run directory")
        return kept
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary = kept.with_suffix(".tmp")
        shutil.copyfile(vocabulary, temporary)
        temporary.replace(kept)
    except OSError as error:
        raise UserError(f"cannot write {kept}: {error.strerror or error}") from error
    return kept


def _changes(path: Path, config: str) -> list[str]:
    candidate = path.with_suffix(".new")
    candidate.write_text(config, encoding="utf-8")
    try:
        before, after = _values(path), _values(candidate)
    finally:
        candidate.unlink()
    differing = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    described = {key: f"{key}: {before.get(key, 'unset')} there, {after.get(key, 'unset')} now" for key in differing}
    refused = [described[key] for key in differing if not _may_change(key)]
    if refused:
        raise UserError(f"{path.parent} holds another run ({'; '.join(refused)}); choose another RUN_DIR")
    return list(described.values())


def _values(path: Path) -> dict[str, str]:
    return {binding.key: repr(binding.value) for binding in read_bindings(path)}


def _may_change(key: str) -> bool:
    name, _, argument = key.partition(".")
    by_argument = {"Run": MAY_CHANGE_OF_RUN, "TrainerConfig": MAY_CHANGE_OF_TRAINER}
    return key in MAY_CHANGE or name in MAY_CHANGE_WHOLLY or argument in by_argument.get(name, ())


def _refuse_foreign_files(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise UserError(f"the run directory {directory} is a file")
    if directory.is_dir() and any(directory.iterdir()):
        raise UserError(f"{directory} holds files but no {CONFIG}; choose an empty or new RUN_DIR")
