"""The input that a run's configuration describes, live or written down."""

from pathlib import Path
from typing import Any

from m5jax.configuration.load import import_task_modules
from m5jax.configuration.run import Run
from m5jax.configuration.run_directory import VOCABULARY
from m5jax.data.default_vocabulary import default_vocabulary
from m5jax.data.materialized import Rows, write_rows
from m5jax.data.pipeline import BatchIterator, definition, training_batches
from m5jax.data.vocabulary import set_current_vocabulary

_ROWS_AT_ONCE = 256


def live_batches(run: Run, batch_size: int, shard_index: int = 0, shard_count: int = 1) -> BatchIterator:
    """Returns the training batches of one host, `batch_size` rows each, made from the tasks' records."""
    data = run.data
    return training_batches(
        data.mixture,
        length=data.length,
        targets_length=data.targets_length,
        batch_size=batch_size,
        seed=data.seed,
        mixing=data.mixing,
        masking=data.masking,
        shard_index=shard_index,
        shard_count=shard_count,
        cache_dir=data.cache_dir,
    )


def run_definition(run: Run) -> dict[str, Any]:
    """Returns what tells the rows of this run from those of others."""
    data = run.data
    return definition(
        data.mixture,
        length=data.length,
        targets_length=data.targets_length,
        seed=data.seed,
        mixing=data.mixing,
        masking=data.masking,
    )


def materialize_run(run: Run, rows: int, output: Path) -> Rows:
    """Writes the first `rows` packed rows of a run; raises UserError where the run or `output` does not allow it."""
    import_task_modules(run.task_modules)
    set_current_vocabulary(vocabulary_path(run))
    return write_rows(live_batches(run, min(rows, _ROWS_AT_ONCE)), rows, output, run_definition(run))


def vocabulary_path(run: Run) -> Path:
    """Returns the vocabulary that is configured, or else the one the run has, or else the mixture's own."""
    kept = run.directory / VOCABULARY
    if run.vocabulary and (Path(run.vocabulary).is_file() or not kept.is_file()):
        return Path(run.vocabulary)
    return kept if kept.is_file() else default_vocabulary(run.data.mixture)
