"""The run directory: made or resumed only with the config it was begun with."""

import dataclasses
import fcntl
import json
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path

from m5jax.configuration.gin_files import Binding, parse_bindings, read_bindings, resolve
from m5jax.configuration.registry import CONFIGURABLES
from m5jax.configuration.run_files import ATTRIBUTES, CONFIG, LABELS, VOCABULARY
from m5jax.data.attributes import SEPARATORS, AttributeFormat
from m5jax.errors import UserError
from m5jax.files import write_whole

LOCK = ".lock"
SECONDS_TO_SEE = 90
# What may differ when a run is resumed: how long, how often and where it runs, not what it computes.
MAY_CHANGE = ("TRAIN_STEPS", "RUN_DIR", "VOCABULARY", "TASK_MODULES")
MAY_CHANGE_OF_RUN = ("run_dir", "vocabulary", "task_modules")
MAY_CHANGE_WHOLLY = ("KeepPolicy", "MeshConfig")
MODELS = ("EncoderConfig", "EncoderDecoderConfig", "DecoderConfig")
MAY_CHANGE_OF_MODEL = ("remat", "pipeline_microbatches", "pipeline_rounds")
MAY_CHANGE_OF_FINE_TUNING = ("run_dir", "mesh", "log_every", "accumulation")
MAY_CHANGE_OF_TRAINER = ("steps", "accumulation", "log_every", "evaluate_every", "checkpoint_every", "keep")


def check_run_directory(directory: Path, config: str) -> list[str]:
    """Returns what changed against the config in the directory, of what may change; empty for a new run.

    Raises:
      UserError: the directory holds another run's config (the difference is named) or other files.
    """
    path = directory / CONFIG
    if path.is_file():
        return _changes(path, config)
    _refuse_foreign_files(directory)
    return []


def model_differences(directory: Path, config: str) -> list[str]:
    """Returns what a config says of the model that the run in the directory does not, but for where it is computed."""
    return [
        difference
        for key, difference in _differences(directory / CONFIG, config).items()
        if key.partition(".")[0] in MODELS and not _may_change(key)
    ]


@contextmanager
def begun(directory: Path, config: str) -> Iterator[None]:
    """Within its context no other process trains in the directory, which is made, and holds this config.

    Raises:
      UserError: another process trains there, it holds another run, or it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / LOCK).open("w")
    except OSError as error:
        raise UserError(f"cannot write the run directory {directory}: {error.strerror or error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process is training in {directory}") from error
        check_run_directory(directory, config)  # another run may have begun here since it was checked
        write_whole(directory / CONFIG, config)
        yield


def check_seen(directory: Path, config: str) -> None:
    """Raises UserError unless this process finds the config that the first one wrote, soon.

    A network file system may remember for a while that there was none.
    """
    path, deadline = directory / CONFIG, time.monotonic() + SECONDS_TO_SEE
    while not _holds(path, config):
        if time.monotonic() > deadline:
            raise UserError(
                f"{path} is not what the first process wrote; RUN_DIR must be on storage that all hosts share"
            )
        time.sleep(1.0)


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except OSError:
        return False


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
        content = vocabulary.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {vocabulary}: {error.strerror or error}") from error
    write_whole(kept, content)
    return kept


def kept_labels(directory: Path) -> tuple[str, ...] | None:
    """Returns the labels of the run in the directory; None where it is a new one.

    Raises:
      UserError: the file is damaged.
    """
    path = directory / LABELS
    if not path.is_file():
        return None
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the labels of the run, {path}: {error}") from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise UserError(f"{path} is no list of labels; restore it from a copy")
    return tuple(labels)


def keep_labels(directory: Path, labels: Sequence[str]) -> None:
    """Writes the labels that the run predicts, in the order of their ids; raises UserError where that fails."""
    write_whole(directory / LABELS, json.dumps(labels, ensure_ascii=False, indent=0) + "\n")


def keep_attributes(directory: Path, attributes: AttributeFormat) -> None:
    """Writes the format of products in embeddings unless it is there; raises UserError where that fails."""
    path = directory / ATTRIBUTES
    if not path.exists():
        write_whole(path, json.dumps(dataclasses.asdict(attributes), ensure_ascii=False) + "\n")


def read_attributes(directory: Path) -> AttributeFormat:
    """Returns the kept format, the default one for a run without; raises UserError where it cannot be read."""
    path = directory / ATTRIBUTES
    if not path.is_file():
        return SEPARATORS
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        values["names"] = tuple(values["names"])
        values["enumerations"] = tuple((name, tuple(spellings)) for name, spellings in values["enumerations"])
        return AttributeFormat(**values)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is no format of attributes ({error}); a run writes it at its start") from error


def _changes(path: Path, config: str) -> list[str]:
    described = _differences(path, config)
    refused = [difference for key, difference in described.items() if not _may_change(key)]
    if refused:
        raise UserError(f"{path.parent} holds another run ({'; '.join(refused)}); choose another RUN_DIR")
    return list(described.values())


def _differences(path: Path, config: str) -> dict[str, str]:
    """Returns what differs between the config at `path` and another one, by the key of its binding."""
    sides = read_bindings(path), parse_bindings(config, "the configuration")
    macros = [{binding.name for binding in side if not binding.argument} for side in sides]
    before, after = (_values(side, macros[0] ^ macros[1]) for side in sides)
    # A run from before an option was there has what the option's default does.
    keys = sorted(before.keys() | after.keys())
    values = {key: tuple(side.get(key, _default(key)) for side in (before, after)) for key in keys}
    return {key: f"{key}: {there} there, {now} now" for key, (there, now) in values.items() if there != now}


def _values(bindings: Sequence[Binding], unshared: Set[str]) -> dict[str, str]:
    """Returns what each key binds; macros that only one of two configs has are replaced by what they stand for."""
    return {
        binding.key: repr(resolve(binding, bindings) if repr(binding.value)[1:] in unshared else binding.value)
        for binding in bindings
        if binding.argument or binding.name not in unshared
    }


def _default(key: str) -> str:
    """Returns the default of what a key binds, as `_values` has it; "unset" where there is none that gin can write."""
    name, _, argument = key.rpartition(".")
    configurable = CONFIGURABLES.get(name.rpartition("/")[2])
    fields = {field.name: field.default for field in dataclasses.fields(configurable)} if configurable else {}
    default = fields.get(argument, dataclasses.MISSING)
    return "unset" if default is dataclasses.MISSING else repr(default)


def _may_change(key: str) -> bool:
    name, _, argument = key.partition(".")
    by_argument = {"Run": MAY_CHANGE_OF_RUN, "TrainerConfig": MAY_CHANGE_OF_TRAINER}
    by_argument["FineTuning"] = MAY_CHANGE_OF_FINE_TUNING
    by_argument |= dict.fromkeys(MODELS, MAY_CHANGE_OF_MODEL)
    return key in MAY_CHANGE or name in MAY_CHANGE_WHOLLY or argument in by_argument.get(name, ())


def _refuse_foreign_files(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise UserError(f"the run directory {directory} is a file")
    if directory.is_dir() and any(path.name != LOCK for path in directory.iterdir()):
        raise UserError(f"{directory} holds files but no {CONFIG}; choose an empty or new RUN_DIR")
