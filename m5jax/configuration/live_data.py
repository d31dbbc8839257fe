"""The input that a run's configuration describes, live or written down."""

from pathlib import Path
from typing import Any

from m5jax.configuration.load import import_task_modules
from m5jax.configuration.run import Run
from m5jax.configuration.run_directory import kept_labels
from m5jax.configuration.run_files import CONFIG, VOCABULARY
from m5jax.data.batch_iterator import BatchIterator
from m5jax.data.cut_texts import log_cut_texts
from m5jax.data.default_vocabulary import default_vocabulary
from m5jax.data.evaluation_batches import evaluation_tasks
from m5jax.data.held_out_rows import read_held_out
from m5jax.data.labels import mixture_labels
from m5jax.data.materialized import Rows, write_rows
from m5jax.data.mixtures import find_tasks
from m5jax.data.pipeline import definition, training_batches
from m5jax.data.row_shape import check_written
from m5jax.data.vocabulary import Vocabulary, set_current_vocabulary
from m5jax.errors import UserError
from m5jax.evaluation.held_out import WrittenHeldOut
from m5jax.evaluation.live_held_out import LiveHeldOut
from m5jax.models import DecoderConfig

_ROWS_AT_ONCE = 256


def live_batches(
    run: Run, batch_size: int, shard_index: int = 0, shard_count: int = 1, epochs: int | None = None
) -> BatchIterator:
    """Returns the training batches of one host, `batch_size` rows each, made from the tasks' records."""
    data = run.data
    return training_batches(
        data.mixture,
        length=data.length,
        targets_length=data.targets_length,
        separate_targets=run.separate_targets,
        batch_size=batch_size,
        seed=data.seed,
        mixing=data.mixing,
        masking=data.masking,
        shard_index=shard_index,
        shard_count=shard_count,
        epochs=epochs,
        cache_dir=data.cache_dir,
        replay_mixture=data.replay_mixture,
        replay=data.replay,
    )


def check_tasks(run: Run) -> None:
    """Raises UserError where a task of the run's mixture is none for its model."""
    if isinstance(run.model, DecoderConfig):
        check_written(find_tasks(*run.data.mixtures), "a decoder")


def run_definition(run: Run) -> dict[str, Any]:
    """Returns what tells the rows of this run from those of others."""
    data = run.data
    return definition(
        data.mixture,
        length=data.length,
        targets_length=data.targets_length,
        separate_targets=run.separate_targets,
        seed=data.seed,
        mixing=data.mixing,
        masking=data.masking,
        replay_mixture=data.replay_mixture,
        replay=data.replay,
    )


def materialize_run(run: Run, output: Path, rows: int | None = None, epochs: int | None = None) -> Rows:
    """Writes the packed rows of a run: the first `rows`, or those of `epochs` passes over each task's records; and its
    held-out rows.

    Raises:
        UserError: the run or `output` does not allow it.
    """
    if output.exists():  # before minutes of work
        raise UserError(f"{output} exists; remove it or choose another --output")
    import_task_modules(run.task_modules)
    check_tasks(run)
    set_run_vocabulary(run)
    at_once = min(rows or _ROWS_AT_ONCE, _ROWS_AT_ONCE)
    batches = live_batches(run, at_once, epochs=epochs)
    held_out = live_held_out(run).rows()
    written = write_rows(batches, rows, output, run_definition(run), held_out, held_out_definition(run))
    log_cut_texts()
    return written


def live_held_out(run: Run) -> LiveHeldOut:
    """Returns the held-out examples of each task of a run."""
    data = run.data
    return LiveHeldOut(
        evaluation_tasks(*data.mixtures),
        data.length,
        data.targets_length,
        max_examples=data.evaluation_examples,
        separate_targets=run.separate_targets,
    )


def run_held_out(run: Run) -> LiveHeldOut | WrittenHeldOut:
    """Returns the held-out data of a run: beside its rows where they are written down, else live.

    Raises:
        UserError: there are none beside the rows, or of another definition.
    """
    if not run.data.materialized:
        return live_held_out(run)
    return WrittenHeldOut(read_held_out(Path(run.data.materialized), held_out_definition(run)))


def held_out_definition(run: Run) -> dict[str, Any]:
    """Returns what tells the held-out rows of this run from those of others: its masking is not among that."""
    data = run.data
    made = definition(
        data.mixture,
        length=data.length,
        targets_length=data.targets_length,
        separate_targets=run.separate_targets,
        seed=0,
        replay_mixture=data.replay_mixture,
    )
    names = ("tasks", "vocabulary", "length", "targets_length", "separate_targets")
    return {name: made[name] for name in names} | {"evaluation_examples": data.evaluation_examples}


def set_run_vocabulary(run: Run) -> Vocabulary:
    """Sets and returns this process's vocabulary: the run's, with the labels that it has, or else those of its mixture.

    Raises:
        UserError: there is none, or it and its labels are more than the model's embedding has rows.
    """
    labels = kept_labels(run.directory)
    vocabulary = set_current_vocabulary(
        vocabulary_path(run), mixture_labels(*run.data.mixtures) if labels is None else labels
    )
    if vocabulary.size > run.model.vocab_size:
        labelled = f" and {len(vocabulary.labels)} labels" if vocabulary.labels else ""
        raise UserError(
            f"the vocabulary has {vocabulary.text_size} pieces{labelled}, the model's embedding "
            f"{type(run.model).__name__}.vocab_size = {run.model.vocab_size} rows; it needs at least {vocabulary.size}"
        )
    return vocabulary


def vocabulary_path(run: Run) -> Path:
    """Returns the vocabulary that is configured, or else the run's, its initial run's, or its mixture's own."""
    kept = run.directory / VOCABULARY
    if run.vocabulary and (Path(run.vocabulary).is_file() or not kept.is_file()):
        return Path(run.vocabulary)
    if kept.is_file():
        return kept
    return initial_directory(run) / VOCABULARY if run.initial_run else default_vocabulary(run.data.mixture)


def initial_directory(run: Run) -> Path:
    """Returns the directory of the run that a run begins with; raises UserError where it is none."""
    directory = Path(run.initial_run)
    if not (directory / CONFIG).is_file():
        raise UserError(f"INITIAL_RUN: {directory} is no run directory: it has no {CONFIG}")
    return directory
