"""`m5jax data cache`: SeqIO's offline cache of tasks, made by the transforms of `seqio.beam_utils`.

They are put together as `seqio.scripts.cache_tasks_main.run_pipeline` does, which itself takes its settings from the
flags of its own command, every split that a source could have, and no vocabulary for its workers.
"""

import functools
import json
import os
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import seqio
from seqio import beam_utils

from m5jax.data.default_vocabulary import default_vocabulary
from m5jax.data.mixtures import find_tasks
from m5jax.data.preparation.pipeline import read_options, run_pipeline
from m5jax.data.task_cache import FILE_NAME, cache_definition, cached_steps, splits_with_data
from m5jax.data.vocabulary import set_current_vocabulary
from m5jax.errors import UserError

# As of SeqIO's command: many, because a run shuffles them.
_LEAST_SHARDS = 64


def cache_tasks(
    name: str,
    directory: Path,
    *,
    vocabulary: str | Path = "",
    task_modules: Sequence[str] = (),
    beam_options: Sequence[str] = (),
) -> dict[str, int]:
    """Caches a task, or all tasks of a mixture; returns the number of examples of each.

    Args:
        name: a registered task or mixture.
        directory: of caches; each task has one in it, which must not exist, and appears when it is whole.
        vocabulary: its path, which becomes this process's own; empty: the default one of `name`.
        task_modules: modules that register the tasks, which workers import.
        beam_options: flags of Beam; none: the DirectRunner. Every worker must see the corpus cache (`M5JAX_CACHE`), the
            vocabulary and `directory`.

    Raises:
        UserError: an unknown name, a task that cannot be cached or is cached already, no vocabulary, or a wrong option.
    """
    tasks = find_tasks(name)
    for task in tasks:
        cached_steps(task)
        if _task_directory(directory, task).exists():
            raise UserError(
                f"{_task_directory(directory, task)} exists; remove it or choose another --output_cache_dir"
            )
    options = read_options(beam_options)
    path = Path(vocabulary or default_vocabulary(name))
    set_current_vocabulary(path)
    return {task.name: _cache(task, directory, path.absolute(), task_modules, options) for task in tasks}


def _cache(task: seqio.Task, directory: Path, vocabulary: Path, modules: Sequence[str], options: Any) -> int:
    splits = splits_with_data(task)
    definition = cache_definition(task, splits)
    final = _task_directory(directory, task)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{final.name}.", dir=final.parent) as temporary:
            staging = Path(temporary) / "cache"
            staging.mkdir()
            run_pipeline(lambda pipeline: _add_splits(pipeline, task, splits, vocabulary, modules, staging), options)
            described = {split: _describe_split(staging, split) for split in splits}
            values = {**definition, "id": uuid.uuid4().hex, "splits": described}
            (staging / FILE_NAME).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
            (staging / "COMPLETED").touch()
            staging.rename(final)
    except OSError as error:
        raise UserError(f"cannot write {final}: {error.strerror or error}") from error
    return sum(values["examples"] for values in described.values())


def _add_splits(
    pipeline: beam.Pipeline,
    task: seqio.Task,
    splits: Sequence[str],
    vocabulary: Path,
    modules: Sequence[str],
    staging: Path,
) -> None:
    setup = functools.partial(set_current_vocabulary, vocabulary)
    for split in splits:
        read = beam_utils.PreprocessTask(task, split, setup_fn=setup, modules_to_import=modules)
        shards = max(len(read.shards), _LEAST_SHARDS)
        examples = pipeline | f"{split} steps" >> read | f"{split} shuffle" >> beam.Reshuffle()
        prefix = seqio.get_cached_tfrecord_prefix(str(staging), split)
        _ = examples | f"{split} write" >> beam_utils.WriteExampleTfRecord(prefix, num_shards=shards)
        information = examples | f"{split} features" >> beam_utils.GetInfo(shards)
        _ = information | f"{split} info" >> beam_utils.WriteJson(seqio.get_cached_info_path(str(staging), split))
        counts = examples | f"{split} count" >> beam_utils.GetStats(task.output_features)
        _ = counts | f"{split} stats" >> beam_utils.WriteJson(seqio.get_cached_stats_path(str(staging), split))


def _describe_split(staging: Path, split: str) -> dict[str, Any]:
    prefix = os.path.basename(seqio.get_cached_tfrecord_prefix(str(staging), split))
    statistics = json.loads(Path(seqio.get_cached_stats_path(str(staging), split)).read_text(encoding="utf-8"))
    shards = {path.name: path.stat().st_size for path in sorted(staging.glob(f"{prefix}-*"))}
    return {"examples": int(statistics["examples"]), "shards": shards}


def _task_directory(directory: Path, task: seqio.Task) -> Path:
    return directory / seqio.get_task_dir_from_name(task.name)
