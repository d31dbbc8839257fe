"""SeqIO's offline cache of a task, as `m5jax data cache` makes it: what it was made with, and reading from it.

DIRECTORY/TASK/SPLIT.tfrecord-0000k-of-0000n    examples before the first random step
DIRECTORY/TASK/definition.json                  steps, vocabulary and input, and the shards with their sizes
DIRECTORY/TASK/COMPLETED                        SeqIO's mark
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import seqio

from m5jax.data.corpus_source import CorpusDataSource
from m5jax.data.described import describe_steps
from m5jax.data.vocabulary import current_vocabulary
from m5jax.errors import UserError

FILE_NAME = "definition.json"
FORMAT_VERSION = 1


def cached_steps(task: seqio.Task) -> list[Callable[..., Any]]:
    """Returns the preprocessors before a task's cache; raises UserError where the task cannot be cached."""
    steps = list(task.preprocessors)
    for index, step in enumerate(steps):
        if isinstance(step, seqio.CacheDatasetPlaceholder):
            return steps[:index]
    raise UserError(
        f"task {task.name} cannot be cached: its steps have no seqio.CacheDatasetPlaceholder (one belongs after "
        "tokenisation and before the first random step)"
    )


def cache_definition(task: seqio.Task, splits: Sequence[str]) -> dict[str, Any]:
    """Returns what the cache of a task follows from, as JSON can hold it; raises UserError as `cached_steps`."""
    source = task.source
    if hasattr(source, "identity"):
        records: Any = f"{source.identity}, {source.language}"
    else:
        records = {split: [_shard_state(str(shard)) for shard in source.list_shards(split)] for split in sorted(splits)}
    return {
        "version": FORMAT_VERSION,
        "steps": describe_steps(cached_steps(task)),
        "vocabulary": current_vocabulary().fingerprint,
        "records": records,
    }


def _shard_state(shard: str) -> list[Any]:
    """Returns the name of a source's shard, and of a file size and time of change too."""
    path = Path(shard)
    return [shard, path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else [shard]


def splits_with_data(task: seqio.Task) -> list[str]:
    """Returns the splits of a task, of a corpus those in which its language has records."""
    source = task.source
    if isinstance(source, CorpusDataSource):
        return [split for split in task.splits if source.corpus().count(source.language, split)]
    return list(task.splits)


def cached_tasks(tasks: Sequence[seqio.Task], directory: Path, split: str) -> tuple[list[seqio.Task], dict[str, str]]:
    """Returns the tasks as SeqIO reads them from their caches, and each cache's id.

    Raises:
        UserError: a task without a cache in `directory`, a missing or truncated shard, or a cache of other steps, input
            or vocabulary.
    """
    ids = {task.name: _check(task, directory, split) for task in tasks}
    seqio.set_global_cache_dirs([str(directory)])
    # A task remembers the first cache that it found.
    return [task.replace() for task in tasks], ids


def _check(task: seqio.Task, directory: Path, split: str) -> str:
    cached = directory / seqio.get_task_dir_from_name(task.name)
    cached_steps(task)
    if not (cached / FILE_NAME).is_file():
        raise UserError(
            f"{directory} holds no cache of task {task.name}; m5jax data cache --task={task.name} makes one"
        )
    try:
        made = json.loads((cached / FILE_NAME).read_text(encoding="utf-8"))
        shards = made["splits"][split]["shards"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{cached / FILE_NAME} is damaged ({error}); make the cache again") from error
    for name, wanted in cache_definition(task, list(made["splits"])).items():
        if made.get(name) != wanted:
            raise UserError(
                f"the cache {cached} was made with another definition: {name} was {made.get(name)}, is {wanted}; "
                "make it again"
            )
    for name, size in shards.items():
        path = cached / name
        if not path.is_file():
            raise UserError(f"the cache {cached} is not whole: its shard {name} is missing; make it again")
        if path.stat().st_size != size:
            raise UserError(
                f"the cache {cached} is damaged: its shard {name} has {path.stat().st_size} bytes, "
                f"{size} were written; make it again"
            )
    return str(made["id"])
